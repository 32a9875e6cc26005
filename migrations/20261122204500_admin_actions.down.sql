-- Forgets who has done what; the log still has its lines.
DROP TABLE admin_actions;
