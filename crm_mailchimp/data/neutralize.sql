-- a copy of the database must not write to the audience of the original
UPDATE crm_mailchimp_account
   SET api_key_secret = NULL,
       api_key_hint = NULL,
       key_verified = FALSE,
       push_enabled = FALSE,
       other_since = NULL,
       webhook_token = NULL,
       webhook_hooks = NULL,
       state = 'draft';
UPDATE crm_mailchimp_run
   SET state = 'cancelled'
 WHERE state IN ('queued', 'running', 'waiting', 'brake');
DELETE FROM crm_mailchimp_webhook_delivery;
DELETE FROM ir_config_parameter WHERE key = 'crm_mailchimp.api_url';
DELETE FROM crm_mailchimp_app;
DELETE FROM crm_mailchimp_login;
