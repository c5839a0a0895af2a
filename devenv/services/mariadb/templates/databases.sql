{% for database in databases %}
{% for name in database.names %}
CREATE DATABASE IF NOT EXISTS {{ name }};
CREATE USER IF NOT EXISTS '{{ database.user }}'@'%';
GRANT ALL PRIVILEGES ON {{ name }}.* TO '{{ database.user }}'@'%';
{% endfor %}
ALTER USER '{{ database.user }}'@'%' IDENTIFIED BY '{{ password(database.user ~ "_database") }}';
{% endfor %}
