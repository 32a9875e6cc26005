-- Undoes the file of the same name that ends in .up.sql: deletes every {thing}.
DROP TABLE widgets;
