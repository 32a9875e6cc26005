-- Deletes every webhook, event and delivery.
DROP TABLE idempotency_keys;
DROP TABLE webhook_deliveries;
DROP TABLE events;
DROP TABLE webhook_endpoints;
