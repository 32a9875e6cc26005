-- Forgets which jobs are done: one that Redis delivers once more after this runs once more.
DROP TABLE job_done;
