-- An Uptime Kuma database, as far as its importer reads it.
CREATE TABLE monitor (
    id INTEGER PRIMARY KEY, name VARCHAR(150), active BOOLEAN NOT NULL DEFAULT 1, user_id INTEGER,
    interval INTEGER NOT NULL DEFAULT 20, url TEXT, type VARCHAR(20), weight INTEGER DEFAULT 2000, hostname VARCHAR(255),
    port INTEGER, keyword VARCHAR(255), maxretries INTEGER NOT NULL DEFAULT 0, ignore_tls BOOLEAN NOT NULL DEFAULT 0,
    upside_down BOOLEAN NOT NULL DEFAULT 0, maxredirects INTEGER NOT NULL DEFAULT 10,
    accepted_statuscodes_json TEXT NOT NULL DEFAULT '["200-299"]', dns_resolve_type VARCHAR(5),
    retry_interval INTEGER NOT NULL DEFAULT 0, push_token VARCHAR(20), method TEXT NOT NULL DEFAULT 'GET', body TEXT,
    headers TEXT, basic_auth_user TEXT, basic_auth_pass TEXT, auth_method VARCHAR(250),
    resend_interval INTEGER NOT NULL DEFAULT 0, timeout DOUBLE NOT NULL DEFAULT 0,
    invert_keyword BOOLEAN NOT NULL DEFAULT 0, json_path TEXT, expected_value VARCHAR(255), parent INTEGER);
CREATE TABLE tag (id INTEGER PRIMARY KEY, name VARCHAR(255), color VARCHAR(255));
CREATE TABLE monitor_tag (id INTEGER PRIMARY KEY, monitor_id INTEGER, tag_id INTEGER, value TEXT);
INSERT INTO tag VALUES (1, 'prod', '#f00'), (2, 'team', '#0f0');
INSERT INTO monitor_tag VALUES (1, 1, 1, ''), (2, 1, 2, 'shop');

-- These are imported.
INSERT INTO monitor (id, name, type, url, interval, maxretries, headers, basic_auth_user, basic_auth_pass, auth_method, resend_interval)
    VALUES (1, 'Shop', 'http', 'PAGE', 60, 2, '{"X-Probe": "1"}', 'u', 'p', 'basic', 3);
INSERT INTO monitor (id, name, type, url, keyword) VALUES (2, 'Keyword', 'keyword', 'PAGE', 'Welcome');
INSERT INTO monitor (id, name, type, url, json_path, expected_value, timeout)
    VALUES (3, 'JSON', 'json-query', 'PAGE', 'status', 'ok', 48.0);
INSERT INTO monitor (id, name, type, hostname, port, active) VALUES (4, 'Port', 'port', '127.0.0.1', 5432, 0);
INSERT INTO monitor (id, name, type, hostname, ignore_tls) VALUES (5, 'Ping', 'ping', '127.0.0.1', 1);
INSERT INTO monitor (id, name, type, hostname, dns_resolve_type, active) VALUES (6, 'DNS', 'dns', 'example.com', 'MX', 0);
INSERT INTO monitor (id, name, type, push_token) VALUES (7, 'Push', 'push', 'abc');
INSERT INTO monitor (id, name, type, url, accepted_statuscodes_json) VALUES (10, 'Wide', 'http', 'PAGE', '["200-299", "404"]');

-- These are not.
INSERT INTO monitor (id, name, type, url, upside_down) VALUES (8, 'Upside', 'http', 'PAGE', 1);
INSERT INTO monitor (id, name, type, url) VALUES (9, 'Private', 'http', 'http://10.1.2.3/');
INSERT INTO monitor (id, name, type, url, json_path, expected_value)
    VALUES (11, 'Bare JSONata', 'json-query', 'PAGE', '$count(items)', '3');
