CREATE TABLE projects (id bigint PRIMARY KEY, name integer NOT NULL);
