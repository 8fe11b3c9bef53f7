-- +goose Up
-- create "api_keys" table
CREATE TABLE `api_keys` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `kind` text NOT NULL, `prefix` text NOT NULL, `hash` blob NOT NULL, `scopes` json NOT NULL, `created_at` datetime NOT NULL, `expires_at` datetime NULL, `last_used_at` datetime NULL, `revoked_at` datetime NULL, `app_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `api_keys_apps_keys` FOREIGN KEY (`app_id`) REFERENCES `apps` (`id`) ON DELETE NO ACTION);
-- create index "apikey_workspace_id_id" to table: "api_keys"
CREATE INDEX `apikey_workspace_id_id` ON `api_keys` (`workspace_id`, `id`);
-- create index "apikey_hash" to table: "api_keys"
CREATE INDEX `apikey_hash` ON `api_keys` (`hash`);
-- create "accesses" table
CREATE TABLE `accesses` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `subject_id` uuid NOT NULL, `reason` text NOT NULL, `conversation_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `accesses_conversations_access` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION);
-- create index "access_workspace_id_conversation_id_subject_id_reason" to table: "accesses"
CREATE UNIQUE INDEX `access_workspace_id_conversation_id_subject_id_reason` ON `accesses` (`workspace_id`, `conversation_id`, `subject_id`, `reason`);
-- create index "access_workspace_id_subject_id_conversation_id" to table: "accesses"
CREATE INDEX `access_workspace_id_subject_id_conversation_id` ON `accesses` (`workspace_id`, `subject_id`, `conversation_id`);
-- create "agents" table
CREATE TABLE `agents` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `display_name` text NOT NULL, `email` blob NOT NULL, `email_blind` text NOT NULL, `active` bool NOT NULL DEFAULT (true), `locale` text NULL, `password_hash` text NULL, `invitation_hash` blob NULL, `invitation_until` datetime NULL, `role_id` uuid NOT NULL, `capacity_profile_id` uuid NOT NULL, `status_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `agents_roles_role` FOREIGN KEY (`role_id`) REFERENCES `roles` (`id`) ON DELETE NO ACTION, CONSTRAINT `agents_capacity_profiles_capacity_profile` FOREIGN KEY (`capacity_profile_id`) REFERENCES `capacity_profiles` (`id`) ON DELETE NO ACTION, CONSTRAINT `agents_agent_status_status` FOREIGN KEY (`status_id`) REFERENCES `agent_status` (`id`) ON DELETE SET NULL);
-- create index "agent_workspace_id_id" to table: "agents"
CREATE INDEX `agent_workspace_id_id` ON `agents` (`workspace_id`, `id`);
-- create index "agent_workspace_id_email_blind" to table: "agents"
CREATE UNIQUE INDEX `agent_workspace_id_email_blind` ON `agents` (`workspace_id`, `email_blind`);
-- create index "agent_invitation_hash" to table: "agents"
CREATE INDEX `agent_invitation_hash` ON `agents` (`invitation_hash`);
-- create "agent_loads" table
CREATE TABLE `agent_loads` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `used` integer NOT NULL DEFAULT (0), `used_by` json NOT NULL, `count` integer NOT NULL DEFAULT (0), `blocker_id` uuid NULL, `idle_since` datetime NOT NULL, `misses` integer NOT NULL DEFAULT (0), `version` integer NOT NULL DEFAULT (1), `agent_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `agent_loads_agents_load` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "agent_loads_agent_id_key" to table: "agent_loads"
CREATE UNIQUE INDEX `agent_loads_agent_id_key` ON `agent_loads` (`agent_id`);
-- create index "agentload_workspace_id_agent_id" to table: "agent_loads"
CREATE UNIQUE INDEX `agentload_workspace_id_agent_id` ON `agent_loads` (`workspace_id`, `agent_id`);
-- create "agent_phones" table
CREATE TABLE `agent_phones` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `label` text NOT NULL, `username` text NOT NULL, `ha1` blob NOT NULL, `preferred` bool NOT NULL DEFAULT (false), `agent_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `agent_phones_agents_phones` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "agentphone_workspace_id_id" to table: "agent_phones"
CREATE INDEX `agentphone_workspace_id_id` ON `agent_phones` (`workspace_id`, `id`);
-- create index "agentphone_workspace_id_agent_id_label" to table: "agent_phones"
CREATE UNIQUE INDEX `agentphone_workspace_id_agent_id_label` ON `agent_phones` (`workspace_id`, `agent_id`, `label`);
-- create index "agentphone_workspace_id_username" to table: "agent_phones"
CREATE UNIQUE INDEX `agentphone_workspace_id_username` ON `agent_phones` (`workspace_id`, `username`);
-- create index "agentphone_username" to table: "agent_phones"
CREATE INDEX `agentphone_username` ON `agent_phones` (`username`);
-- create "agent_skills" table
CREATE TABLE `agent_skills` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `level` integer NOT NULL DEFAULT (1), `agent_id` uuid NOT NULL, `skill_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `agent_skills_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION, CONSTRAINT `agent_skills_skills_skill` FOREIGN KEY (`skill_id`) REFERENCES `skills` (`id`) ON DELETE NO ACTION);
-- create index "agentskill_workspace_id_agent_id_skill_id" to table: "agent_skills"
CREATE UNIQUE INDEX `agentskill_workspace_id_agent_id_skill_id` ON `agent_skills` (`workspace_id`, `agent_id`, `skill_id`);
-- create index "agentskill_skill_id_agent_id" to table: "agent_skills"
CREATE INDEX `agentskill_skill_id_agent_id` ON `agent_skills` (`skill_id`, `agent_id`);
-- create index "agentskill_agent_id_skill_id" to table: "agent_skills"
CREATE UNIQUE INDEX `agentskill_agent_id_skill_id` ON `agent_skills` (`agent_id`, `skill_id`);
-- create "agent_status" table
CREATE TABLE `agent_status` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `state` text NOT NULL, `set_by_id` uuid NULL, `since` datetime NOT NULL, `ended_at` datetime NULL, `agent_id` uuid NOT NULL, `reason_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `agent_status_agents_status_history` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION, CONSTRAINT `agent_status_status_reasons_reason` FOREIGN KEY (`reason_id`) REFERENCES `status_reasons` (`id`) ON DELETE SET NULL);
-- create index "agentstatus_workspace_id_id" to table: "agent_status"
CREATE INDEX `agentstatus_workspace_id_id` ON `agent_status` (`workspace_id`, `id`);
-- create index "agentstatus_workspace_id_agent_id" to table: "agent_status"
CREATE UNIQUE INDEX `agentstatus_workspace_id_agent_id` ON `agent_status` (`workspace_id`, `agent_id`) WHERE ended_at IS NULL;
-- create index "agentstatus_agent_id_since" to table: "agent_status"
CREATE INDEX `agentstatus_agent_id_since` ON `agent_status` (`agent_id`, `since`);
-- create "apps" table
CREATE TABLE `apps` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `display_name` text NOT NULL, `scopes` json NOT NULL, `enabled` bool NOT NULL DEFAULT (true), PRIMARY KEY (`id`));
-- create index "app_workspace_id_id" to table: "apps"
CREATE INDEX `app_workspace_id_id` ON `apps` (`workspace_id`, `id`);
-- create "arrivals" table
CREATE TABLE `arrivals` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `external_id` text NOT NULL, `at` datetime NOT NULL, `channel_id` uuid NOT NULL, `message_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `arrivals_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE NO ACTION, CONSTRAINT `arrivals_messages_arrivals` FOREIGN KEY (`message_id`) REFERENCES `messages` (`id`) ON DELETE NO ACTION);
-- create index "arrival_workspace_id_message_id_channel_id" to table: "arrivals"
CREATE UNIQUE INDEX `arrival_workspace_id_message_id_channel_id` ON `arrivals` (`workspace_id`, `message_id`, `channel_id`);
-- create index "arrival_message_id" to table: "arrivals"
CREATE INDEX `arrival_message_id` ON `arrivals` (`message_id`);
-- create index "arrival_channel_id" to table: "arrivals"
CREATE INDEX `arrival_channel_id` ON `arrivals` (`channel_id`);
-- create "assignments" table
CREATE TABLE `assignments` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `kind` text NOT NULL, `reason` text NOT NULL, `started_at` datetime NOT NULL, `ended_at` datetime NULL, `agent_id` uuid NOT NULL, `queue_id` uuid NULL, `offer_id` uuid NULL, `interaction_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `assignments_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION, CONSTRAINT `assignments_queues_queue` FOREIGN KEY (`queue_id`) REFERENCES `queues` (`id`) ON DELETE SET NULL, CONSTRAINT `assignments_offers_offer` FOREIGN KEY (`offer_id`) REFERENCES `offers` (`id`) ON DELETE SET NULL, CONSTRAINT `assignments_interactions_assignments` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE NO ACTION);
-- create index "assignment_workspace_id_id" to table: "assignments"
CREATE INDEX `assignment_workspace_id_id` ON `assignments` (`workspace_id`, `id`);
-- create index "assignment_interaction_id_started_at" to table: "assignments"
CREATE INDEX `assignment_interaction_id_started_at` ON `assignments` (`interaction_id`, `started_at`);
-- create index "assignment_workspace_id_agent_id_started_at" to table: "assignments"
CREATE INDEX `assignment_workspace_id_agent_id_started_at` ON `assignments` (`workspace_id`, `agent_id`, `started_at`);
-- create "attachments" table
CREATE TABLE `attachments` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `creator_id` uuid NULL, `name` text NOT NULL, `content_type` text NOT NULL DEFAULT ('application/octet-stream'), `kind` text NOT NULL DEFAULT ('FILE'), `bytes` integer NOT NULL DEFAULT (0), `sha256` text NOT NULL DEFAULT (''), `state` text NOT NULL DEFAULT ('EXPECTED'), `error` text NULL, `blob_key` text NOT NULL DEFAULT (''), `content_id` text NOT NULL DEFAULT (''), `media` json NULL, `created_at` datetime NOT NULL, `message_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `attachments_messages_attachments` FOREIGN KEY (`message_id`) REFERENCES `messages` (`id`) ON DELETE SET NULL);
-- create index "attachment_workspace_id_id" to table: "attachments"
CREATE INDEX `attachment_workspace_id_id` ON `attachments` (`workspace_id`, `id`);
-- create index "attachment_message_id" to table: "attachments"
CREATE INDEX `attachment_message_id` ON `attachments` (`message_id`);
-- create index "attachment_creator_id" to table: "attachments"
CREATE INDEX `attachment_creator_id` ON `attachments` (`creator_id`);
-- create index "attachment_workspace_id_state_created_at" to table: "attachments"
CREATE INDEX `attachment_workspace_id_state_created_at` ON `attachments` (`workspace_id`, `state`, `created_at`);
-- create index "attachment_blob_key" to table: "attachments"
CREATE INDEX `attachment_blob_key` ON `attachments` (`blob_key`) WHERE blob_key <> '';
-- create "calls" table
CREATE TABLE `calls` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `direction` text NOT NULL, `state` text NOT NULL, `from` blob NOT NULL, `to` blob NOT NULL, `name` text NOT NULL DEFAULT (''), `caller_proof` text NOT NULL, `node` text NOT NULL, `epoch` integer NOT NULL, `arrival` text NOT NULL, `beat_at` datetime NOT NULL, `last_fact` integer NOT NULL DEFAULT (0), `headers` json NOT NULL, `ringing_at` datetime NULL, `answered_at` datetime NULL, `ended_at` datetime NULL, `held_since` datetime NULL, `held_total` integer NOT NULL DEFAULT (0), `end_cause` text NULL, `sip_code` integer NULL, `loss_rate` real NULL, `jitter_ms` real NULL, `recording_state` text NOT NULL DEFAULT ('OFF'), `channel_id` uuid NULL, `flow_version_id` uuid NULL, `resumed_from_id` uuid NULL, `interaction_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `calls_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE SET NULL, CONSTRAINT `calls_flow_versions_flow_version` FOREIGN KEY (`flow_version_id`) REFERENCES `flow_versions` (`id`) ON DELETE SET NULL, CONSTRAINT `calls_calls_resumed_by` FOREIGN KEY (`resumed_from_id`) REFERENCES `calls` (`id`) ON DELETE SET NULL, CONSTRAINT `calls_interactions_calls` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE NO ACTION);
-- create index "call_workspace_id_id" to table: "calls"
CREATE INDEX `call_workspace_id_id` ON `calls` (`workspace_id`, `id`);
-- create index "call_workspace_id_arrival" to table: "calls"
CREATE UNIQUE INDEX `call_workspace_id_arrival` ON `calls` (`workspace_id`, `arrival`);
-- create index "call_workspace_id_interaction_id" to table: "calls"
CREATE UNIQUE INDEX `call_workspace_id_interaction_id` ON `calls` (`workspace_id`, `interaction_id`) WHERE state <> 'ENDED';
-- create index "call_interaction_id_created_at" to table: "calls"
CREATE INDEX `call_interaction_id_created_at` ON `calls` (`interaction_id`, `created_at`);
-- create index "call_node_state" to table: "calls"
CREATE INDEX `call_node_state` ON `calls` (`node`, `state`);
-- create index "call_state_beat_at" to table: "calls"
CREATE INDEX `call_state_beat_at` ON `calls` (`state`, `beat_at`);
-- create index "call_workspace_id_created_at_id" to table: "calls"
CREATE INDEX `call_workspace_id_created_at_id` ON `calls` (`workspace_id`, `created_at`, `id`);
-- create "call_facts" table
CREATE TABLE `call_facts` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `number` integer NOT NULL, `kind` text NOT NULL, `leg_id` uuid NULL, `at` datetime NOT NULL, `step` text NOT NULL DEFAULT (''), `exit` text NOT NULL DEFAULT (''), `input` blob NOT NULL, `call_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `call_facts_calls_facts` FOREIGN KEY (`call_id`) REFERENCES `calls` (`id`) ON DELETE NO ACTION);
-- create index "callfact_workspace_id_call_id_number" to table: "call_facts"
CREATE UNIQUE INDEX `callfact_workspace_id_call_id_number` ON `call_facts` (`workspace_id`, `call_id`, `number`);
-- create index "callfact_call_id" to table: "call_facts"
CREATE INDEX `callfact_call_id` ON `call_facts` (`call_id`);
-- create "call_legs" table
CREATE TABLE `call_legs` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `role` text NOT NULL, `state` text NOT NULL, `browser` bool NOT NULL DEFAULT (false), `muted` bool NOT NULL DEFAULT (false), `held` bool NOT NULL DEFAULT (false), `started_at` datetime NOT NULL, `ring_until` datetime NULL, `joined_at` datetime NULL, `left_at` datetime NULL, `cause` text NULL, `sip_code` integer NULL, `call_id` uuid NOT NULL, `agent_id` uuid NULL, `phone_id` uuid NULL, `identity_id` uuid NULL, `offer_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `call_legs_calls_legs` FOREIGN KEY (`call_id`) REFERENCES `calls` (`id`) ON DELETE NO ACTION, CONSTRAINT `call_legs_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `call_legs_agent_phones_phone` FOREIGN KEY (`phone_id`) REFERENCES `agent_phones` (`id`) ON DELETE SET NULL, CONSTRAINT `call_legs_identities_identity` FOREIGN KEY (`identity_id`) REFERENCES `identities` (`id`) ON DELETE SET NULL, CONSTRAINT `call_legs_offers_offer` FOREIGN KEY (`offer_id`) REFERENCES `offers` (`id`) ON DELETE SET NULL);
-- create index "callleg_call_id_started_at" to table: "call_legs"
CREATE INDEX `callleg_call_id_started_at` ON `call_legs` (`call_id`, `started_at`);
-- create index "callleg_workspace_id_agent_id_state" to table: "call_legs"
CREATE INDEX `callleg_workspace_id_agent_id_state` ON `call_legs` (`workspace_id`, `agent_id`, `state`);
-- create index "callleg_offer_id" to table: "call_legs"
CREATE INDEX `callleg_offer_id` ON `call_legs` (`offer_id`);
-- create "capacity_profiles" table
CREATE TABLE `capacity_profiles` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `units` integer NOT NULL DEFAULT (4), `rules` json NOT NULL, `built_in` bool NOT NULL DEFAULT (false), PRIMARY KEY (`id`));
-- create index "capacityprofile_workspace_id_id" to table: "capacity_profiles"
CREATE INDEX `capacityprofile_workspace_id_id` ON `capacity_profiles` (`workspace_id`, `id`);
-- create index "capacityprofile_workspace_id_name" to table: "capacity_profiles"
CREATE UNIQUE INDEX `capacityprofile_workspace_id_name` ON `capacity_profiles` (`workspace_id`, `name`);
-- create "channels" table
CREATE TABLE `channels` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `kind` text NOT NULL, `name` text NOT NULL, `enabled` bool NOT NULL DEFAULT (true), `config` json NOT NULL, `secrets` blob NULL, `hook_secret` blob NOT NULL, `public_key` text NOT NULL DEFAULT (''), `locale` text NULL, `join_open` bool NOT NULL DEFAULT (true), `join_within_hours` integer NOT NULL DEFAULT (72), `reopen_within_days` integer NOT NULL DEFAULT (14), `last_inbound_at` datetime NULL, `last_outbound_at` datetime NULL, `last_error` text NULL, `last_error_at` datetime NULL, `paused_because` text NULL, `queue_id` uuid NULL, `flow_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `channels_queues_queue` FOREIGN KEY (`queue_id`) REFERENCES `queues` (`id`) ON DELETE SET NULL, CONSTRAINT `channels_flows_flow` FOREIGN KEY (`flow_id`) REFERENCES `flows` (`id`) ON DELETE SET NULL);
-- create index "channel_workspace_id_id" to table: "channels"
CREATE INDEX `channel_workspace_id_id` ON `channels` (`workspace_id`, `id`);
-- create index "channel_workspace_id_name" to table: "channels"
CREATE UNIQUE INDEX `channel_workspace_id_name` ON `channels` (`workspace_id`, `name`);
-- create index "channel_public_key" to table: "channels"
CREATE INDEX `channel_public_key` ON `channels` (`public_key`);
-- create "cluster_nodes" table
CREATE TABLE `cluster_nodes` (`id` uuid NOT NULL, `name` text NOT NULL, `peer` text NOT NULL DEFAULT (''), `public_url` text NOT NULL DEFAULT (''), `roles` json NOT NULL, `version` text NOT NULL DEFAULT (''), `started_at` datetime NOT NULL, `expires_at` datetime NOT NULL, `draining` bool NOT NULL DEFAULT (false), PRIMARY KEY (`id`));
-- create index "cluster_nodes_name_key" to table: "cluster_nodes"
CREATE UNIQUE INDEX `cluster_nodes_name_key` ON `cluster_nodes` (`name`);
-- create "consultants" table
CREATE TABLE `consultants` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `interaction_id` uuid NOT NULL, `agent_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `consultants_interactions_interaction` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE NO ACTION, CONSTRAINT `consultants_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "consultant_workspace_id_interaction_id_agent_id" to table: "consultants"
CREATE UNIQUE INDEX `consultant_workspace_id_interaction_id_agent_id` ON `consultants` (`workspace_id`, `interaction_id`, `agent_id`);
-- create index "consultant_interaction_id_agent_id" to table: "consultants"
CREATE UNIQUE INDEX `consultant_interaction_id_agent_id` ON `consultants` (`interaction_id`, `agent_id`);
-- create "conversations" table
CREATE TABLE `conversations` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `number` integer NOT NULL, `subject` text NULL, `state` text NOT NULL DEFAULT ('OPEN'), `priority` text NOT NULL DEFAULT ('NORMAL'), `audience` json NOT NULL, `last_message_at` datetime NULL, `waiting_since` datetime NULL, `outcome` text NULL, `opened_at` datetime NOT NULL, `first_responded_at` datetime NULL, `resolved_at` datetime NULL, `snoozed_until` datetime NULL, `owner_id` uuid NULL, `team_id` uuid NULL, `related_id` uuid NULL, `merged_into_id` uuid NULL, `last_message_id` uuid NULL, `customer_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `conversations_agents_owner` FOREIGN KEY (`owner_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `conversations_teams_team` FOREIGN KEY (`team_id`) REFERENCES `teams` (`id`) ON DELETE SET NULL, CONSTRAINT `conversations_conversations_followed_by` FOREIGN KEY (`related_id`) REFERENCES `conversations` (`id`) ON DELETE SET NULL, CONSTRAINT `conversations_conversations_merged_from` FOREIGN KEY (`merged_into_id`) REFERENCES `conversations` (`id`) ON DELETE SET NULL, CONSTRAINT `conversations_messages_last_message` FOREIGN KEY (`last_message_id`) REFERENCES `messages` (`id`) ON DELETE SET NULL, CONSTRAINT `conversations_customers_conversations` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION);
-- create index "conversation_workspace_id_id" to table: "conversations"
CREATE INDEX `conversation_workspace_id_id` ON `conversations` (`workspace_id`, `id`);
-- create index "conversation_workspace_id_updated_at_id" to table: "conversations"
CREATE INDEX `conversation_workspace_id_updated_at_id` ON `conversations` (`workspace_id`, `updated_at`, `id`);
-- create index "conversation_workspace_id_owner_id_updated_at" to table: "conversations"
CREATE INDEX `conversation_workspace_id_owner_id_updated_at` ON `conversations` (`workspace_id`, `owner_id`, `updated_at`);
-- create index "conversation_workspace_id_number" to table: "conversations"
CREATE UNIQUE INDEX `conversation_workspace_id_number` ON `conversations` (`workspace_id`, `number`);
-- create index "conversation_customer_id_state" to table: "conversations"
CREATE INDEX `conversation_customer_id_state` ON `conversations` (`customer_id`, `state`);
-- create "conversation_merges" table
CREATE TABLE `conversation_merges` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `into_id` uuid NOT NULL, `from_id` uuid NOT NULL, `interactions` json NOT NULL, `items` json NOT NULL, `followers` json NOT NULL, `state` text NOT NULL, `resolved_at` datetime NULL, `owner_given` bool NOT NULL DEFAULT (false), `at` datetime NOT NULL, `undone_at` datetime NULL, PRIMARY KEY (`id`));
-- create index "conversationmerge_workspace_id_from_id" to table: "conversation_merges"
CREATE UNIQUE INDEX `conversationmerge_workspace_id_from_id` ON `conversation_merges` (`workspace_id`, `from_id`) WHERE undone_at IS NULL;
-- create index "conversationmerge_into_id" to table: "conversation_merges"
CREATE INDEX `conversationmerge_into_id` ON `conversation_merges` (`into_id`);
-- create "counters" table
CREATE TABLE `counters` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `name` text NOT NULL, `last` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create index "counter_workspace_id_name" to table: "counters"
CREATE UNIQUE INDEX `counter_workspace_id_name` ON `counters` (`workspace_id`, `name`);
-- create "customers" table
CREATE TABLE `customers` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `display_name` text NOT NULL DEFAULT (''), `locale` text NULL, `last_contact_at` datetime NULL, `merged_into_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `customers_customers_merged_from` FOREIGN KEY (`merged_into_id`) REFERENCES `customers` (`id`) ON DELETE SET NULL);
-- create index "customer_workspace_id_id" to table: "customers"
CREATE INDEX `customer_workspace_id_id` ON `customers` (`workspace_id`, `id`);
-- create "customer_merges" table
CREATE TABLE `customer_merges` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `evidence` json NOT NULL, `reason` text NULL, `given` bool NOT NULL DEFAULT (false), `at` datetime NOT NULL, `undone_at` datetime NULL, `undo_reason` text NULL, `into_id` uuid NOT NULL, `agent_id` uuid NULL, `app_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `customer_merges_customers_merges` FOREIGN KEY (`into_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION, CONSTRAINT `customer_merges_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `customer_merges_apps_app` FOREIGN KEY (`app_id`) REFERENCES `apps` (`id`) ON DELETE SET NULL);
-- create index "customermerge_workspace_id_id" to table: "customer_merges"
CREATE INDEX `customermerge_workspace_id_id` ON `customer_merges` (`workspace_id`, `id`);
-- create index "customermerge_into_id_at_id" to table: "customer_merges"
CREATE INDEX `customermerge_into_id_at_id` ON `customer_merges` (`into_id`, `at`, `id`);
-- create "customer_merge_parts" table
CREATE TABLE `customer_merge_parts` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `identities` json NOT NULL, `conversations` json NOT NULL, `customer_merge_id` uuid NOT NULL, `customer_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `customer_merge_parts_customer_merges_merge` FOREIGN KEY (`customer_merge_id`) REFERENCES `customer_merges` (`id`) ON DELETE NO ACTION, CONSTRAINT `customer_merge_parts_customers_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION);
-- create index "customermergepart_customer_id" to table: "customer_merge_parts"
CREATE INDEX `customermergepart_customer_id` ON `customer_merge_parts` (`customer_id`);
-- create index "customermergepart_customer_merge_id_customer_id" to table: "customer_merge_parts"
CREATE UNIQUE INDEX `customermergepart_customer_merge_id_customer_id` ON `customer_merge_parts` (`customer_merge_id`, `customer_id`);
-- create "events" table
CREATE TABLE `events` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `workspace_id` uuid NOT NULL, `seq` integer NOT NULL, `type` text NOT NULL, `at` datetime NOT NULL, `subject_id` uuid NOT NULL, `subject_version` integer NOT NULL, `conversation_id` uuid NULL, `interaction_id` uuid NULL, `customer_id` uuid NULL, `queue_id` uuid NULL, `identity_id` uuid NULL, `actor_id` uuid NULL, `agent_id` uuid NULL, `changed` json NOT NULL, `audience` json NOT NULL, `hidden_from` json NOT NULL, `private` bool NOT NULL DEFAULT (false), `caused_by_key` text NULL);
-- create index "event_workspace_id_seq" to table: "events"
CREATE UNIQUE INDEX `event_workspace_id_seq` ON `events` (`workspace_id`, `seq`);
-- create index "event_at" to table: "events"
CREATE INDEX `event_at` ON `events` (`at`);
-- create index "event_identity_id_seq" to table: "events"
CREATE INDEX `event_identity_id_seq` ON `events` (`identity_id`, `seq`);
-- create "flows" table
CREATE TABLE `flows` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `last_number` integer NOT NULL DEFAULT (0), `published_id` uuid NULL, `draft_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `flows_flow_versions_published` FOREIGN KEY (`published_id`) REFERENCES `flow_versions` (`id`) ON DELETE SET NULL, CONSTRAINT `flows_flow_versions_draft` FOREIGN KEY (`draft_id`) REFERENCES `flow_versions` (`id`) ON DELETE SET NULL);
-- create index "flow_workspace_id_id" to table: "flows"
CREATE INDEX `flow_workspace_id_id` ON `flows` (`workspace_id`, `id`);
-- create index "flow_workspace_id_name" to table: "flows"
CREATE UNIQUE INDEX `flow_workspace_id_name` ON `flows` (`workspace_id`, `name`);
-- create "flow_versions" table
CREATE TABLE `flow_versions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `number` integer NOT NULL, `document` json NOT NULL, `comment` text NULL, `created_at` datetime NOT NULL, `published_at` datetime NULL, `flow_id` uuid NOT NULL, `author_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `flow_versions_flows_versions` FOREIGN KEY (`flow_id`) REFERENCES `flows` (`id`) ON DELETE NO ACTION, CONSTRAINT `flow_versions_agents_author` FOREIGN KEY (`author_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL);
-- create index "flowversion_workspace_id_id" to table: "flow_versions"
CREATE INDEX `flowversion_workspace_id_id` ON `flow_versions` (`workspace_id`, `id`);
-- create index "flowversion_workspace_id_flow_id_number" to table: "flow_versions"
CREATE UNIQUE INDEX `flowversion_workspace_id_flow_id_number` ON `flow_versions` (`workspace_id`, `flow_id`, `number`);
-- create index "flowversion_flow_id" to table: "flow_versions"
CREATE INDEX `flowversion_flow_id` ON `flow_versions` (`flow_id`);
-- create "followers" table
CREATE TABLE `followers` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `conversation_id` uuid NOT NULL, `agent_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `followers_conversations_conversation` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `followers_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "follower_workspace_id_conversation_id_agent_id" to table: "followers"
CREATE UNIQUE INDEX `follower_workspace_id_conversation_id_agent_id` ON `followers` (`workspace_id`, `conversation_id`, `agent_id`);
-- create index "follower_conversation_id_agent_id" to table: "followers"
CREATE UNIQUE INDEX `follower_conversation_id_agent_id` ON `followers` (`conversation_id`, `agent_id`);
-- create "idempotency_keys" table
CREATE TABLE `idempotency_keys` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `actor_id` uuid NOT NULL, `key` text NOT NULL, `input_hash` text NOT NULL, `result_id` uuid NULL, `at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "idempotencykey_workspace_id_actor_id_key" to table: "idempotency_keys"
CREATE UNIQUE INDEX `idempotencykey_workspace_id_actor_id_key` ON `idempotency_keys` (`workspace_id`, `actor_id`, `key`);
-- create index "idempotencykey_at" to table: "idempotency_keys"
CREATE INDEX `idempotencykey_at` ON `idempotency_keys` (`at`);
-- create "identities" table
CREATE TABLE `identities` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `kind` text NOT NULL, `scope` text NOT NULL DEFAULT (''), `value` blob NOT NULL, `value_blind` text NOT NULL, `claim` text NOT NULL DEFAULT (''), `verification` text NOT NULL, `given_to_id` uuid NULL, `first_seen_at` datetime NOT NULL, `last_seen_at` datetime NOT NULL, `visible_count` integer NOT NULL DEFAULT (0), `read_up_to` integer NOT NULL DEFAULT (0), `delivered_up_to` integer NOT NULL DEFAULT (0), `customer_id` uuid NOT NULL, `channel_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `identities_customers_identities` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION, CONSTRAINT `identities_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE SET NULL);
-- create index "identity_workspace_id_id" to table: "identities"
CREATE INDEX `identity_workspace_id_id` ON `identities` (`workspace_id`, `id`);
-- create index "identity_workspace_id_kind_scope_value_blind_claim" to table: "identities"
CREATE UNIQUE INDEX `identity_workspace_id_kind_scope_value_blind_claim` ON `identities` (`workspace_id`, `kind`, `scope`, `value_blind`, `claim`);
-- create index "identity_customer_id" to table: "identities"
CREATE INDEX `identity_customer_id` ON `identities` (`customer_id`);
-- create "interactions" table
CREATE TABLE `interactions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `channel_kind` text NOT NULL, `thread_key` text NOT NULL DEFAULT (''), `thread` blob NOT NULL, `direction` text NOT NULL DEFAULT ('INBOUND'), `state` text NOT NULL, `live` bool NOT NULL DEFAULT (false), `connecting` bool NOT NULL DEFAULT (false), `priority` text NOT NULL DEFAULT ('NORMAL'), `joined_by` text NOT NULL, `last_number` integer NOT NULL DEFAULT (0), `cost` integer NOT NULL DEFAULT (0), `refused` json NOT NULL, `unanswered_since` datetime NULL, `prefer_id` uuid NULL, `prefer_until` datetime NULL, `started_at` datetime NOT NULL, `queued_at` datetime NULL, `accepted_at` datetime NULL, `first_responded_at` datetime NULL, `ended_at` datetime NULL, `wrap_up_until` datetime NULL, `abandoned` bool NOT NULL DEFAULT (false), `takes_matter` bool NOT NULL DEFAULT (false), `conversation_id` uuid NOT NULL, `customer_id` uuid NOT NULL, `channel_id` uuid NULL, `identity_id` uuid NULL, `queue_id` uuid NULL, `agent_id` uuid NULL, `previous_agent_id` uuid NULL, `open_offer_id` uuid NULL, `continued_from_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `interactions_conversations_interactions` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `interactions_customers_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION, CONSTRAINT `interactions_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE SET NULL, CONSTRAINT `interactions_identities_identity` FOREIGN KEY (`identity_id`) REFERENCES `identities` (`id`) ON DELETE SET NULL, CONSTRAINT `interactions_queues_queue` FOREIGN KEY (`queue_id`) REFERENCES `queues` (`id`) ON DELETE SET NULL, CONSTRAINT `interactions_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `interactions_agents_previous_agent` FOREIGN KEY (`previous_agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `interactions_offers_open_offer` FOREIGN KEY (`open_offer_id`) REFERENCES `offers` (`id`) ON DELETE SET NULL, CONSTRAINT `interactions_interactions_continued_by` FOREIGN KEY (`continued_from_id`) REFERENCES `interactions` (`id`) ON DELETE SET NULL);
-- create index "interaction_workspace_id_id" to table: "interactions"
CREATE INDEX `interaction_workspace_id_id` ON `interactions` (`workspace_id`, `id`);
-- create index "interaction_workspace_id_channel_id_thread_key" to table: "interactions"
CREATE UNIQUE INDEX `interaction_workspace_id_channel_id_thread_key` ON `interactions` (`workspace_id`, `channel_id`, `thread_key`) WHERE state <> 'ENDED';
-- create index "interaction_thread_history" to table: "interactions"
CREATE INDEX `interaction_thread_history` ON `interactions` (`workspace_id`, `channel_id`, `thread_key`, `started_at`);
-- create index "interaction_conversation_id_id" to table: "interactions"
CREATE INDEX `interaction_conversation_id_id` ON `interactions` (`conversation_id`, `id`);
-- create index "interaction_workspace_id_state_queue_id" to table: "interactions"
CREATE INDEX `interaction_workspace_id_state_queue_id` ON `interactions` (`workspace_id`, `state`, `queue_id`);
-- create index "interaction_workspace_id_agent_id_state" to table: "interactions"
CREATE INDEX `interaction_workspace_id_agent_id_state` ON `interactions` (`workspace_id`, `agent_id`, `state`);
-- create index "interaction_workspace_id_identity_id_started_at" to table: "interactions"
CREATE INDEX `interaction_workspace_id_identity_id_started_at` ON `interactions` (`workspace_id`, `identity_id`, `started_at`);
-- create index "interaction_customer_id" to table: "interactions"
CREATE INDEX `interaction_customer_id` ON `interactions` (`customer_id`);
-- create "jobs" table
CREATE TABLE `jobs` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `kind` text NOT NULL, `unique_key` text NULL, `group_key` text NOT NULL DEFAULT (''), `args` json NOT NULL, `state` text NOT NULL DEFAULT ('ready'), `run_at` datetime NOT NULL, `attempt` integer NOT NULL DEFAULT (0), `max_attempts` integer NOT NULL DEFAULT (20), `lease_until` datetime NULL, `holder` text NOT NULL DEFAULT (''), `error` text NULL, `subject_id` uuid NULL, `created_at` datetime NOT NULL, `finished_at` datetime NULL, `channel_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `jobs_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE SET NULL);
-- create index "job_workspace_id_kind_unique_key" to table: "jobs"
CREATE UNIQUE INDEX `job_workspace_id_kind_unique_key` ON `jobs` (`workspace_id`, `kind`, `unique_key`) WHERE finished_at IS NULL;
-- create index "job_group_running" to table: "jobs"
CREATE UNIQUE INDEX `job_group_running` ON `jobs` (`workspace_id`, `group_key`) WHERE group_key <> '' AND state = 'running';
-- create index "job_workspace_id_group_key_state_id" to table: "jobs"
CREATE INDEX `job_workspace_id_group_key_state_id` ON `jobs` (`workspace_id`, `group_key`, `state`, `id`);
-- create index "job_kind_state_run_at" to table: "jobs"
CREATE INDEX `job_kind_state_run_at` ON `jobs` (`kind`, `state`, `run_at`);
-- create index "job_state_lease_until" to table: "jobs"
CREATE INDEX `job_state_lease_until` ON `jobs` (`state`, `lease_until`);
-- create index "job_state_finished_at" to table: "jobs"
CREATE INDEX `job_state_finished_at` ON `jobs` (`state`, `finished_at`);
-- create "leases" table
CREATE TABLE `leases` (`id` uuid NOT NULL, `name` text NOT NULL, `holder` text NOT NULL, `epoch` integer NOT NULL DEFAULT (1), `expires_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "leases_name_key" to table: "leases"
CREATE UNIQUE INDEX `leases_name_key` ON `leases` (`name`);
-- create "log_heads" table
CREATE TABLE `log_heads` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `seq` integer NOT NULL DEFAULT (0), `pruned` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create index "loghead_workspace_id" to table: "log_heads"
CREATE UNIQUE INDEX `loghead_workspace_id` ON `log_heads` (`workspace_id`);
-- create "mentions" table
CREATE TABLE `mentions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `note_id` uuid NOT NULL, `agent_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `mentions_notes_note` FOREIGN KEY (`note_id`) REFERENCES `notes` (`id`) ON DELETE NO ACTION, CONSTRAINT `mentions_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "mention_workspace_id_note_id_agent_id" to table: "mentions"
CREATE UNIQUE INDEX `mention_workspace_id_note_id_agent_id` ON `mentions` (`workspace_id`, `note_id`, `agent_id`);
-- create index "mention_note_id_agent_id" to table: "mentions"
CREATE UNIQUE INDEX `mention_note_id_agent_id` ON `mentions` (`note_id`, `agent_id`);
-- create "merge_candidacies" table
CREATE TABLE `merge_candidacies` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `merge_candidate_id` uuid NOT NULL, `customer_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `merge_candidacies_merge_candidates_candidate` FOREIGN KEY (`merge_candidate_id`) REFERENCES `merge_candidates` (`id`) ON DELETE NO ACTION, CONSTRAINT `merge_candidacies_customers_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION);
-- create index "mergecandidacy_customer_id" to table: "merge_candidacies"
CREATE INDEX `mergecandidacy_customer_id` ON `merge_candidacies` (`customer_id`);
-- create index "mergecandidacy_merge_candidate_id_customer_id" to table: "merge_candidacies"
CREATE UNIQUE INDEX `mergecandidacy_merge_candidate_id_customer_id` ON `merge_candidacies` (`merge_candidate_id`, `customer_id`);
-- create "merge_candidates" table
CREATE TABLE `merge_candidates` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `pair` text NOT NULL, `confidence` real NOT NULL DEFAULT (0), `evidence` json NOT NULL, `dismissed` json NOT NULL, `state` text NOT NULL DEFAULT ('OPEN'), `decided_at` datetime NULL, `reason` text NULL, `created_at` datetime NOT NULL, `decided_by_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `merge_candidates_agents_decided_by` FOREIGN KEY (`decided_by_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL);
-- create index "mergecandidate_workspace_id_id" to table: "merge_candidates"
CREATE INDEX `mergecandidate_workspace_id_id` ON `merge_candidates` (`workspace_id`, `id`);
-- create index "mergecandidate_workspace_id_pair" to table: "merge_candidates"
CREATE UNIQUE INDEX `mergecandidate_workspace_id_pair` ON `merge_candidates` (`workspace_id`, `pair`);
-- create index "mergecandidate_workspace_id_state_id" to table: "merge_candidates"
CREATE INDEX `mergecandidate_workspace_id_state_id` ON `merge_candidates` (`workspace_id`, `state`, `id`);
-- create "merge_suggestions" table
CREATE TABLE `merge_suggestions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `at` datetime NOT NULL, `conversation_id` uuid NOT NULL, `merge_suggestion_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `merge_suggestions_conversations_conversation` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `merge_suggestions_conversations_merge_suggestion` FOREIGN KEY (`merge_suggestion_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION);
-- create index "mergesuggestion_merge_suggestion_id" to table: "merge_suggestions"
CREATE INDEX `mergesuggestion_merge_suggestion_id` ON `merge_suggestions` (`merge_suggestion_id`);
-- create index "mergesuggestion_conversation_id_merge_suggestion_id" to table: "merge_suggestions"
CREATE UNIQUE INDEX `mergesuggestion_conversation_id_merge_suggestion_id` ON `merge_suggestions` (`conversation_id`, `merge_suggestion_id`);
-- create "messages" table
CREATE TABLE `messages` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `channel_id` uuid NULL, `channel_kind` text NOT NULL, `direction` text NOT NULL, `number` integer NOT NULL, `identity_id` uuid NULL, `visible_number` integer NULL, `subject` text NULL, `text` text NULL, `html` text NULL, `quoted` text NULL, `warnings` json NULL, `unreadable` text NULL, `ref_id` text NULL, `refs` json NULL, `same_id` text NULL, `delivery` text NOT NULL, `steps` json NOT NULL, `delivery_error` json NULL, `sends` integer NOT NULL DEFAULT (0), `automatic` bool NOT NULL DEFAULT (false), `external_id` text NULL, `caused_by_key` text NULL, `occurred_at` datetime NULL, `sent_at` datetime NULL, `edited_at` datetime NULL, `recalled_at` datetime NULL, `interaction_id` uuid NOT NULL, `conversation_id` uuid NOT NULL, `agent_id` uuid NULL, `customer_id` uuid NULL, `app_id` uuid NULL, `sender_id` uuid NULL, `in_reply_to_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `messages_interactions_messages` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE NO ACTION, CONSTRAINT `messages_conversations_conversation` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `messages_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `messages_customers_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE SET NULL, CONSTRAINT `messages_apps_app` FOREIGN KEY (`app_id`) REFERENCES `apps` (`id`) ON DELETE SET NULL, CONSTRAINT `messages_identities_sender` FOREIGN KEY (`sender_id`) REFERENCES `identities` (`id`) ON DELETE SET NULL, CONSTRAINT `messages_messages_replies` FOREIGN KEY (`in_reply_to_id`) REFERENCES `messages` (`id`) ON DELETE SET NULL);
-- create index "message_workspace_id_id" to table: "messages"
CREATE INDEX `message_workspace_id_id` ON `messages` (`workspace_id`, `id`);
-- create index "message_interaction_number" to table: "messages"
CREATE UNIQUE INDEX `message_interaction_number` ON `messages` (`interaction_id`, `number`);
-- create index "message_workspace_id_channel_id_external_id_direction" to table: "messages"
CREATE INDEX `message_workspace_id_channel_id_external_id_direction` ON `messages` (`workspace_id`, `channel_id`, `external_id`, `direction`);
-- create index "message_workspace_id_delivery_id" to table: "messages"
CREATE INDEX `message_workspace_id_delivery_id` ON `messages` (`workspace_id`, `delivery`, `id`);
-- create index "message_conversation_id_id" to table: "messages"
CREATE INDEX `message_conversation_id_id` ON `messages` (`conversation_id`, `id`);
-- create index "message_workspace_id_identity_id_visible_number" to table: "messages"
CREATE UNIQUE INDEX `message_workspace_id_identity_id_visible_number` ON `messages` (`workspace_id`, `identity_id`, `visible_number`);
-- create index "message_customer_id" to table: "messages"
CREATE INDEX `message_customer_id` ON `messages` (`customer_id`);
-- create index "message_sender_id" to table: "messages"
CREATE INDEX `message_sender_id` ON `messages` (`sender_id`);
-- create index "message_workspace_id_same_id" to table: "messages"
CREATE UNIQUE INDEX `message_workspace_id_same_id` ON `messages` (`workspace_id`, `same_id`) WHERE same_id IS NOT NULL;
-- create index "message_workspace_id_ref_id" to table: "messages"
CREATE INDEX `message_workspace_id_ref_id` ON `messages` (`workspace_id`, `ref_id`) WHERE ref_id IS NOT NULL;
-- create "notes" table
CREATE TABLE `notes` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `text` text NOT NULL, `pinned` bool NOT NULL DEFAULT (false), `conversation_id` uuid NOT NULL, `interaction_id` uuid NULL, `agent_id` uuid NULL, `app_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `notes_conversations_notes` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `notes_interactions_interaction` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE SET NULL, CONSTRAINT `notes_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL, CONSTRAINT `notes_apps_app` FOREIGN KEY (`app_id`) REFERENCES `apps` (`id`) ON DELETE SET NULL);
-- create index "note_workspace_id_id" to table: "notes"
CREATE INDEX `note_workspace_id_id` ON `notes` (`workspace_id`, `id`);
-- create index "note_conversation_id_id" to table: "notes"
CREATE INDEX `note_conversation_id_id` ON `notes` (`conversation_id`, `id`);
-- create index "note_interaction_id" to table: "notes"
CREATE INDEX `note_interaction_id` ON `notes` (`interaction_id`);
-- create "offers" table
CREATE TABLE `offers` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `state` text NOT NULL DEFAULT ('PENDING'), `outcome` text NULL, `reasons` json NOT NULL, `cost` integer NOT NULL DEFAULT (0), `epoch` integer NOT NULL DEFAULT (0), `connecting` bool NOT NULL DEFAULT (false), `offered_at` datetime NOT NULL, `expires_at` datetime NOT NULL, `closed_at` datetime NULL, `decline_reason` text NULL, `interaction_id` uuid NOT NULL, `conversation_id` uuid NOT NULL, `agent_id` uuid NOT NULL, `queue_id` uuid NULL, `decision_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `offers_interactions_offers` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE NO ACTION, CONSTRAINT `offers_conversations_conversation` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `offers_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION, CONSTRAINT `offers_queues_queue` FOREIGN KEY (`queue_id`) REFERENCES `queues` (`id`) ON DELETE SET NULL, CONSTRAINT `offers_routing_decisions_decision` FOREIGN KEY (`decision_id`) REFERENCES `routing_decisions` (`id`) ON DELETE SET NULL);
-- create index "offer_workspace_id_id" to table: "offers"
CREATE INDEX `offer_workspace_id_id` ON `offers` (`workspace_id`, `id`);
-- create index "offer_workspace_id_interaction_id" to table: "offers"
CREATE UNIQUE INDEX `offer_workspace_id_interaction_id` ON `offers` (`workspace_id`, `interaction_id`) WHERE state = 'PENDING';
-- create index "offer_workspace_id_agent_id_state" to table: "offers"
CREATE INDEX `offer_workspace_id_agent_id_state` ON `offers` (`workspace_id`, `agent_id`, `state`);
-- create index "offer_interaction_id_offered_at" to table: "offers"
CREATE INDEX `offer_interaction_id_offered_at` ON `offers` (`interaction_id`, `offered_at`);
-- create index "offer_state_expires_at" to table: "offers"
CREATE INDEX `offer_state_expires_at` ON `offers` (`state`, `expires_at`);
-- create "outboxes" table
CREATE TABLE `outboxes` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `workspace_id` uuid NOT NULL, `type` text NOT NULL, `at` datetime NOT NULL, `subject_id` uuid NOT NULL, `subject_version` integer NOT NULL, `conversation_id` uuid NULL, `interaction_id` uuid NULL, `customer_id` uuid NULL, `queue_id` uuid NULL, `identity_id` uuid NULL, `actor_id` uuid NULL, `agent_id` uuid NULL, `changed` json NOT NULL, `audience` json NOT NULL, `hidden_from` json NOT NULL, `private` bool NOT NULL DEFAULT (false), `caused_by_key` text NULL);
-- create "participants" table
CREATE TABLE `participants` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `role` text NOT NULL DEFAULT ('CUSTOMER'), `since` datetime NOT NULL, `conversation_id` uuid NOT NULL, `identity_id` uuid NOT NULL, `customer_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `participants_conversations_participants` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `participants_identities_identity` FOREIGN KEY (`identity_id`) REFERENCES `identities` (`id`) ON DELETE NO ACTION, CONSTRAINT `participants_customers_customer` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION);
-- create index "participant_workspace_id_conversation_id_identity_id" to table: "participants"
CREATE UNIQUE INDEX `participant_workspace_id_conversation_id_identity_id` ON `participants` (`workspace_id`, `conversation_id`, `identity_id`);
-- create index "participant_customer_id_conversation_id" to table: "participants"
CREATE INDEX `participant_customer_id_conversation_id` ON `participants` (`customer_id`, `conversation_id`);
-- create index "participant_identity_id" to table: "participants"
CREATE INDEX `participant_identity_id` ON `participants` (`identity_id`);
-- create "phone_contacts" table
CREATE TABLE `phone_contacts` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `agent_id` uuid NOT NULL, `node` text NOT NULL, `contact` text NOT NULL, `source` text NOT NULL, `transport` text NOT NULL, `call_id` text NOT NULL, `seq` integer NOT NULL, `user_agent` text NOT NULL DEFAULT (''), `expires_at` datetime NOT NULL, `seen_at` datetime NOT NULL, `agent_phone_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `phone_contacts_agent_phones_contacts` FOREIGN KEY (`agent_phone_id`) REFERENCES `agent_phones` (`id`) ON DELETE NO ACTION);
-- create index "phonecontact_workspace_id_agent_phone_id" to table: "phone_contacts"
CREATE UNIQUE INDEX `phonecontact_workspace_id_agent_phone_id` ON `phone_contacts` (`workspace_id`, `agent_phone_id`);
-- create index "phonecontact_agent_id_expires_at" to table: "phone_contacts"
CREATE INDEX `phonecontact_agent_id_expires_at` ON `phone_contacts` (`agent_id`, `expires_at`);
-- create index "phonecontact_expires_at" to table: "phone_contacts"
CREATE INDEX `phonecontact_expires_at` ON `phone_contacts` (`expires_at`);
-- create index "phonecontact_node" to table: "phone_contacts"
CREATE INDEX `phonecontact_node` ON `phone_contacts` (`node`);
-- create "presences" table
CREATE TABLE `presences` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `subject_id` uuid NOT NULL, `node` text NOT NULL, `sockets` integer NOT NULL DEFAULT (0), `seen_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "presence_workspace_id_subject_id_node" to table: "presences"
CREATE UNIQUE INDEX `presence_workspace_id_subject_id_node` ON `presences` (`workspace_id`, `subject_id`, `node`);
-- create index "presence_seen_at" to table: "presences"
CREATE INDEX `presence_seen_at` ON `presences` (`seen_at`);
-- create "prompts" table
CREATE TABLE `prompts` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `seconds` real NOT NULL DEFAULT (0), `attachment_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `prompts_attachments_audio` FOREIGN KEY (`attachment_id`) REFERENCES `attachments` (`id`) ON DELETE NO ACTION);
-- create index "prompt_workspace_id_id" to table: "prompts"
CREATE INDEX `prompt_workspace_id_id` ON `prompts` (`workspace_id`, `id`);
-- create index "prompt_workspace_id_name" to table: "prompts"
CREATE UNIQUE INDEX `prompt_workspace_id_name` ON `prompts` (`workspace_id`, `name`);
-- create "provider_tokens" table
CREATE TABLE `provider_tokens` (`id` uuid NOT NULL, `provider` text NOT NULL, `credential` text NOT NULL, `sealed` blob NOT NULL, `version` integer NOT NULL, `expires_at` datetime NULL, `updated_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "providertoken_provider_credential" to table: "provider_tokens"
CREATE UNIQUE INDEX `providertoken_provider_credential` ON `provider_tokens` (`provider`, `credential`);
-- create "pulls" table
CREATE TABLE `pulls` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `stream` text NOT NULL, `active` bool NOT NULL DEFAULT (true), `position` blob NULL, `holder` text NOT NULL DEFAULT (''), `epoch` integer NOT NULL DEFAULT (0), `expires_at` datetime NOT NULL, `watching` bool NOT NULL DEFAULT (false), `fetched_at` datetime NULL, `error` text NULL, `error_at` datetime NULL, `channel_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `pulls_channels_pulls` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE NO ACTION);
-- create index "pull_workspace_id_channel_id_stream" to table: "pulls"
CREATE UNIQUE INDEX `pull_workspace_id_channel_id_stream` ON `pulls` (`workspace_id`, `channel_id`, `stream`);
-- create index "pull_channel_id" to table: "pulls"
CREATE INDEX `pull_channel_id` ON `pulls` (`channel_id`);
-- create index "pull_expires_at" to table: "pulls"
CREATE INDEX `pull_expires_at` ON `pulls` (`expires_at`);
-- create index "pull_holder" to table: "pulls"
CREATE INDEX `pull_holder` ON `pulls` (`holder`);
-- create "queues" table
CREATE TABLE `queues` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `description` text NULL, `strategy` text NOT NULL DEFAULT ('LONGEST_IDLE'), `offer_seconds` integer NOT NULL DEFAULT (30), `wrap_up_seconds` integer NOT NULL DEFAULT (0), `sticky_seconds` integer NOT NULL DEFAULT (120), `pause_after_reply_seconds` integer NULL, `silent_after_seconds` integer NULL, `break_after_misses` integer NOT NULL DEFAULT (3), `restricted` bool NOT NULL DEFAULT (false), `ring_seconds` integer NOT NULL DEFAULT (20), `recording` text NOT NULL DEFAULT ('NEVER'), `team_id` uuid NULL, `waiting_prompt_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `queues_teams_team` FOREIGN KEY (`team_id`) REFERENCES `teams` (`id`) ON DELETE SET NULL, CONSTRAINT `queues_prompts_waiting_prompt` FOREIGN KEY (`waiting_prompt_id`) REFERENCES `prompts` (`id`) ON DELETE SET NULL);
-- create index "queue_workspace_id_id" to table: "queues"
CREATE INDEX `queue_workspace_id_id` ON `queues` (`workspace_id`, `id`);
-- create index "queue_workspace_id_name" to table: "queues"
CREATE UNIQUE INDEX `queue_workspace_id_name` ON `queues` (`workspace_id`, `name`);
-- create "raw_inbounds" table
CREATE TABLE `raw_inbounds` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `external_id` text NOT NULL, `kind` text NOT NULL, `payload` blob NOT NULL, `blob_key` text NOT NULL DEFAULT (''), `files` json NULL, `state` text NOT NULL DEFAULT ('NEW'), `error` text NULL, `received_at` datetime NOT NULL, `done_at` datetime NULL, `message_id` uuid NULL, `channel_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `raw_inbounds_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE NO ACTION);
-- create index "rawinbound_workspace_id_channel_id_external_id" to table: "raw_inbounds"
CREATE UNIQUE INDEX `rawinbound_workspace_id_channel_id_external_id` ON `raw_inbounds` (`workspace_id`, `channel_id`, `external_id`);
-- create index "rawinbound_state_done_at" to table: "raw_inbounds"
CREATE INDEX `rawinbound_state_done_at` ON `raw_inbounds` (`state`, `done_at`);
-- create "recipients" table
CREATE TABLE `recipients` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `role` text NOT NULL, `name` text NOT NULL DEFAULT (''), `identity_id` uuid NOT NULL, `message_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `recipients_identities_sent_to` FOREIGN KEY (`identity_id`) REFERENCES `identities` (`id`) ON DELETE NO ACTION, CONSTRAINT `recipients_messages_recipients` FOREIGN KEY (`message_id`) REFERENCES `messages` (`id`) ON DELETE NO ACTION);
-- create index "recipient_message_id" to table: "recipients"
CREATE INDEX `recipient_message_id` ON `recipients` (`message_id`);
-- create index "recipient_identity_id" to table: "recipients"
CREATE INDEX `recipient_identity_id` ON `recipients` (`identity_id`);
-- create "recordings" table
CREATE TABLE `recordings` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `blob_key` text NOT NULL, `bytes` integer NOT NULL, `sha256` text NOT NULL, `seconds` real NOT NULL, `started_at` datetime NOT NULL, `deleted_at` datetime NULL, `call_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `recordings_calls_recordings` FOREIGN KEY (`call_id`) REFERENCES `calls` (`id`) ON DELETE NO ACTION);
-- create index "recording_workspace_id_id" to table: "recordings"
CREATE INDEX `recording_workspace_id_id` ON `recordings` (`workspace_id`, `id`);
-- create index "recording_call_id_started_at" to table: "recordings"
CREATE INDEX `recording_call_id_started_at` ON `recordings` (`call_id`, `started_at`);
-- create "roles" table
CREATE TABLE `roles` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `description` text NULL, `scopes` json NOT NULL, `reach` text NOT NULL, `personal_shown` json NOT NULL, `built_in` bool NOT NULL DEFAULT (false), PRIMARY KEY (`id`));
-- create index "role_workspace_id_id" to table: "roles"
CREATE INDEX `role_workspace_id_id` ON `roles` (`workspace_id`, `id`);
-- create index "role_workspace_id_name" to table: "roles"
CREATE UNIQUE INDEX `role_workspace_id_name` ON `roles` (`workspace_id`, `name`);
-- create "routing_decisions" table
CREATE TABLE `routing_decisions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `outcome` text NOT NULL, `reasons` json NOT NULL, `candidates` json NOT NULL, `excluded` json NOT NULL, `microseconds` integer NOT NULL DEFAULT (0), `at` datetime NOT NULL, `interaction_id` uuid NOT NULL, `queue_id` uuid NULL, `chosen_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `routing_decisions_interactions_decisions` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE NO ACTION, CONSTRAINT `routing_decisions_queues_queue` FOREIGN KEY (`queue_id`) REFERENCES `queues` (`id`) ON DELETE SET NULL, CONSTRAINT `routing_decisions_agents_chosen` FOREIGN KEY (`chosen_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "routingdecision_workspace_id_id" to table: "routing_decisions"
CREATE INDEX `routingdecision_workspace_id_id` ON `routing_decisions` (`workspace_id`, `id`);
-- create index "routingdecision_interaction_id_at" to table: "routing_decisions"
CREATE INDEX `routingdecision_interaction_id_at` ON `routing_decisions` (`interaction_id`, `at`);
-- create "sessions" table
CREATE TABLE `sessions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `client` text NOT NULL DEFAULT (''), `refresh_hash` blob NOT NULL, `created_at` datetime NOT NULL, `last_seen_at` datetime NOT NULL, `expires_at` datetime NOT NULL, `revoked_at` datetime NULL, `agent_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `sessions_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION);
-- create index "session_workspace_id_id" to table: "sessions"
CREATE INDEX `session_workspace_id_id` ON `sessions` (`workspace_id`, `id`);
-- create index "session_workspace_id_agent_id" to table: "sessions"
CREATE INDEX `session_workspace_id_agent_id` ON `sessions` (`workspace_id`, `agent_id`);
-- create "skills" table
CREATE TABLE `skills` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `description` text NULL, PRIMARY KEY (`id`));
-- create index "skill_workspace_id_id" to table: "skills"
CREATE INDEX `skill_workspace_id_id` ON `skills` (`workspace_id`, `id`);
-- create index "skill_workspace_id_name" to table: "skills"
CREATE UNIQUE INDEX `skill_workspace_id_name` ON `skills` (`workspace_id`, `name`);
-- create "skill_needs" table
CREATE TABLE `skill_needs` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `minimum_level` integer NOT NULL DEFAULT (1), `queue_id` uuid NOT NULL, `skill_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `skill_needs_queues_needs` FOREIGN KEY (`queue_id`) REFERENCES `queues` (`id`) ON DELETE NO ACTION, CONSTRAINT `skill_needs_skills_skill` FOREIGN KEY (`skill_id`) REFERENCES `skills` (`id`) ON DELETE NO ACTION);
-- create index "skillneed_workspace_id_queue_id_skill_id" to table: "skill_needs"
CREATE UNIQUE INDEX `skillneed_workspace_id_queue_id_skill_id` ON `skill_needs` (`workspace_id`, `queue_id`, `skill_id`);
-- create index "skillneed_skill_id" to table: "skill_needs"
CREATE INDEX `skillneed_skill_id` ON `skill_needs` (`skill_id`);
-- create "status_reasons" table
CREATE TABLE `status_reasons` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `key` text NULL, `name` text NOT NULL, `state` text NOT NULL, `counts_as_work` bool NOT NULL DEFAULT (false), `enabled` bool NOT NULL DEFAULT (true), PRIMARY KEY (`id`));
-- create index "statusreason_workspace_id_id" to table: "status_reasons"
CREATE INDEX `statusreason_workspace_id_id` ON `status_reasons` (`workspace_id`, `id`);
-- create index "statusreason_workspace_id_name" to table: "status_reasons"
CREATE UNIQUE INDEX `statusreason_workspace_id_name` ON `status_reasons` (`workspace_id`, `name`);
-- create index "statusreason_workspace_id_key" to table: "status_reasons"
CREATE UNIQUE INDEX `statusreason_workspace_id_key` ON `status_reasons` (`workspace_id`, `key`) WHERE key IS NOT NULL;
-- create "teams" table
CREATE TABLE `teams` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `parent_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `teams_teams_children` FOREIGN KEY (`parent_id`) REFERENCES `teams` (`id`) ON DELETE SET NULL);
-- create index "team_workspace_id_id" to table: "teams"
CREATE INDEX `team_workspace_id_id` ON `teams` (`workspace_id`, `id`);
-- create index "team_workspace_id_name" to table: "teams"
CREATE UNIQUE INDEX `team_workspace_id_name` ON `teams` (`workspace_id`, `name`);
-- create "team_members" table
CREATE TABLE `team_members` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `agent_id` uuid NOT NULL, `team_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `team_members_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE NO ACTION, CONSTRAINT `team_members_teams_team` FOREIGN KEY (`team_id`) REFERENCES `teams` (`id`) ON DELETE NO ACTION);
-- create index "teammember_workspace_id_team_id_agent_id" to table: "team_members"
CREATE UNIQUE INDEX `teammember_workspace_id_team_id_agent_id` ON `team_members` (`workspace_id`, `team_id`, `agent_id`);
-- create index "teammember_agent_id_team_id" to table: "team_members"
CREATE UNIQUE INDEX `teammember_agent_id_team_id` ON `team_members` (`agent_id`, `team_id`);
-- create "thread_refs" table
CREATE TABLE `thread_refs` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `ref` text NOT NULL, `thread_key` text NOT NULL, `at` datetime NOT NULL, `channel_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `thread_refs_channels_channel` FOREIGN KEY (`channel_id`) REFERENCES `channels` (`id`) ON DELETE NO ACTION);
-- create index "threadref_workspace_id_ref_channel_id" to table: "thread_refs"
CREATE UNIQUE INDEX `threadref_workspace_id_ref_channel_id` ON `thread_refs` (`workspace_id`, `ref`, `channel_id`);
-- create index "threadref_channel_id" to table: "thread_refs"
CREATE INDEX `threadref_channel_id` ON `thread_refs` (`channel_id`);
-- create "timeline_items" table
CREATE TABLE `timeline_items` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `type` text NOT NULL, `at` datetime NOT NULL, `changed` text NOT NULL DEFAULT (''), `before` text NULL, `after` text NULL, `reason` text NULL, `internal` bool NOT NULL DEFAULT (true), `conversation_id` uuid NOT NULL, `customer_id` uuid NOT NULL, `interaction_id` uuid NULL, `message_id` uuid NULL, `note_id` uuid NULL, `assignment_id` uuid NULL, `call_id` uuid NULL, `agent_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `timeline_items_conversations_timeline` FOREIGN KEY (`conversation_id`) REFERENCES `conversations` (`id`) ON DELETE NO ACTION, CONSTRAINT `timeline_items_customers_timeline` FOREIGN KEY (`customer_id`) REFERENCES `customers` (`id`) ON DELETE NO ACTION, CONSTRAINT `timeline_items_interactions_interaction` FOREIGN KEY (`interaction_id`) REFERENCES `interactions` (`id`) ON DELETE SET NULL, CONSTRAINT `timeline_items_messages_message` FOREIGN KEY (`message_id`) REFERENCES `messages` (`id`) ON DELETE SET NULL, CONSTRAINT `timeline_items_notes_note` FOREIGN KEY (`note_id`) REFERENCES `notes` (`id`) ON DELETE SET NULL, CONSTRAINT `timeline_items_assignments_assignment` FOREIGN KEY (`assignment_id`) REFERENCES `assignments` (`id`) ON DELETE SET NULL, CONSTRAINT `timeline_items_calls_call` FOREIGN KEY (`call_id`) REFERENCES `calls` (`id`) ON DELETE SET NULL, CONSTRAINT `timeline_items_agents_agent` FOREIGN KEY (`agent_id`) REFERENCES `agents` (`id`) ON DELETE SET NULL);
-- create index "timelineitem_workspace_id_id" to table: "timeline_items"
CREATE INDEX `timelineitem_workspace_id_id` ON `timeline_items` (`workspace_id`, `id`);
-- create index "timelineitem_conversation_id_at_id" to table: "timeline_items"
CREATE INDEX `timelineitem_conversation_id_at_id` ON `timeline_items` (`conversation_id`, `at`, `id`);
-- create index "timelineitem_customer_id_at_id" to table: "timeline_items"
CREATE INDEX `timelineitem_customer_id_at_id` ON `timeline_items` (`customer_id`, `at`, `id`);
-- create index "timelineitem_interaction_id" to table: "timeline_items"
CREATE INDEX `timelineitem_interaction_id` ON `timeline_items` (`interaction_id`);
-- create "visitor_sessions" table
CREATE TABLE `visitor_sessions` (`id` uuid NOT NULL, `workspace_id` uuid NOT NULL, `channel_id` uuid NOT NULL, `secret_hash` blob NOT NULL, `client` text NOT NULL DEFAULT (''), `created_at` datetime NOT NULL, `revoked_at` datetime NULL, `identity_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `visitor_sessions_identities_identity` FOREIGN KEY (`identity_id`) REFERENCES `identities` (`id`) ON DELETE NO ACTION);
-- create index "visitorsession_secret_hash" to table: "visitor_sessions"
CREATE INDEX `visitorsession_secret_hash` ON `visitor_sessions` (`secret_hash`);
-- create index "visitorsession_workspace_id_identity_id" to table: "visitor_sessions"
CREATE INDEX `visitorsession_workspace_id_identity_id` ON `visitor_sessions` (`workspace_id`, `identity_id`);
-- create "workspaces" table
CREATE TABLE `workspaces` (`id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `locale` text NOT NULL DEFAULT ('en'), `time_zone` text NOT NULL DEFAULT ('UTC'), `priority_weight_seconds` integer NOT NULL DEFAULT (600), `default_queue_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `workspaces_queues_default_queue` FOREIGN KEY (`default_queue_id`) REFERENCES `queues` (`id`) ON DELETE SET NULL);

-- +goose Down
-- reverse: create "workspaces" table
DROP TABLE `workspaces`;
-- reverse: create index "visitorsession_workspace_id_identity_id" to table: "visitor_sessions"
DROP INDEX `visitorsession_workspace_id_identity_id`;
-- reverse: create index "visitorsession_secret_hash" to table: "visitor_sessions"
DROP INDEX `visitorsession_secret_hash`;
-- reverse: create "visitor_sessions" table
DROP TABLE `visitor_sessions`;
-- reverse: create index "timelineitem_interaction_id" to table: "timeline_items"
DROP INDEX `timelineitem_interaction_id`;
-- reverse: create index "timelineitem_customer_id_at_id" to table: "timeline_items"
DROP INDEX `timelineitem_customer_id_at_id`;
-- reverse: create index "timelineitem_conversation_id_at_id" to table: "timeline_items"
DROP INDEX `timelineitem_conversation_id_at_id`;
-- reverse: create index "timelineitem_workspace_id_id" to table: "timeline_items"
DROP INDEX `timelineitem_workspace_id_id`;
-- reverse: create "timeline_items" table
DROP TABLE `timeline_items`;
-- reverse: create index "threadref_channel_id" to table: "thread_refs"
DROP INDEX `threadref_channel_id`;
-- reverse: create index "threadref_workspace_id_ref_channel_id" to table: "thread_refs"
DROP INDEX `threadref_workspace_id_ref_channel_id`;
-- reverse: create "thread_refs" table
DROP TABLE `thread_refs`;
-- reverse: create index "teammember_agent_id_team_id" to table: "team_members"
DROP INDEX `teammember_agent_id_team_id`;
-- reverse: create index "teammember_workspace_id_team_id_agent_id" to table: "team_members"
DROP INDEX `teammember_workspace_id_team_id_agent_id`;
-- reverse: create "team_members" table
DROP TABLE `team_members`;
-- reverse: create index "team_workspace_id_name" to table: "teams"
DROP INDEX `team_workspace_id_name`;
-- reverse: create index "team_workspace_id_id" to table: "teams"
DROP INDEX `team_workspace_id_id`;
-- reverse: create "teams" table
DROP TABLE `teams`;
-- reverse: create index "statusreason_workspace_id_key" to table: "status_reasons"
DROP INDEX `statusreason_workspace_id_key`;
-- reverse: create index "statusreason_workspace_id_name" to table: "status_reasons"
DROP INDEX `statusreason_workspace_id_name`;
-- reverse: create index "statusreason_workspace_id_id" to table: "status_reasons"
DROP INDEX `statusreason_workspace_id_id`;
-- reverse: create "status_reasons" table
DROP TABLE `status_reasons`;
-- reverse: create index "skillneed_skill_id" to table: "skill_needs"
DROP INDEX `skillneed_skill_id`;
-- reverse: create index "skillneed_workspace_id_queue_id_skill_id" to table: "skill_needs"
DROP INDEX `skillneed_workspace_id_queue_id_skill_id`;
-- reverse: create "skill_needs" table
DROP TABLE `skill_needs`;
-- reverse: create index "skill_workspace_id_name" to table: "skills"
DROP INDEX `skill_workspace_id_name`;
-- reverse: create index "skill_workspace_id_id" to table: "skills"
DROP INDEX `skill_workspace_id_id`;
-- reverse: create "skills" table
DROP TABLE `skills`;
-- reverse: create index "session_workspace_id_agent_id" to table: "sessions"
DROP INDEX `session_workspace_id_agent_id`;
-- reverse: create index "session_workspace_id_id" to table: "sessions"
DROP INDEX `session_workspace_id_id`;
-- reverse: create "sessions" table
DROP TABLE `sessions`;
-- reverse: create index "routingdecision_interaction_id_at" to table: "routing_decisions"
DROP INDEX `routingdecision_interaction_id_at`;
-- reverse: create index "routingdecision_workspace_id_id" to table: "routing_decisions"
DROP INDEX `routingdecision_workspace_id_id`;
-- reverse: create "routing_decisions" table
DROP TABLE `routing_decisions`;
-- reverse: create index "role_workspace_id_name" to table: "roles"
DROP INDEX `role_workspace_id_name`;
-- reverse: create index "role_workspace_id_id" to table: "roles"
DROP INDEX `role_workspace_id_id`;
-- reverse: create "roles" table
DROP TABLE `roles`;
-- reverse: create index "recording_call_id_started_at" to table: "recordings"
DROP INDEX `recording_call_id_started_at`;
-- reverse: create index "recording_workspace_id_id" to table: "recordings"
DROP INDEX `recording_workspace_id_id`;
-- reverse: create "recordings" table
DROP TABLE `recordings`;
-- reverse: create index "recipient_identity_id" to table: "recipients"
DROP INDEX `recipient_identity_id`;
-- reverse: create index "recipient_message_id" to table: "recipients"
DROP INDEX `recipient_message_id`;
-- reverse: create "recipients" table
DROP TABLE `recipients`;
-- reverse: create index "rawinbound_state_done_at" to table: "raw_inbounds"
DROP INDEX `rawinbound_state_done_at`;
-- reverse: create index "rawinbound_workspace_id_channel_id_external_id" to table: "raw_inbounds"
DROP INDEX `rawinbound_workspace_id_channel_id_external_id`;
-- reverse: create "raw_inbounds" table
DROP TABLE `raw_inbounds`;
-- reverse: create index "queue_workspace_id_name" to table: "queues"
DROP INDEX `queue_workspace_id_name`;
-- reverse: create index "queue_workspace_id_id" to table: "queues"
DROP INDEX `queue_workspace_id_id`;
-- reverse: create "queues" table
DROP TABLE `queues`;
-- reverse: create index "pull_holder" to table: "pulls"
DROP INDEX `pull_holder`;
-- reverse: create index "pull_expires_at" to table: "pulls"
DROP INDEX `pull_expires_at`;
-- reverse: create index "pull_channel_id" to table: "pulls"
DROP INDEX `pull_channel_id`;
-- reverse: create index "pull_workspace_id_channel_id_stream" to table: "pulls"
DROP INDEX `pull_workspace_id_channel_id_stream`;
-- reverse: create "pulls" table
DROP TABLE `pulls`;
-- reverse: create index "providertoken_provider_credential" to table: "provider_tokens"
DROP INDEX `providertoken_provider_credential`;
-- reverse: create "provider_tokens" table
DROP TABLE `provider_tokens`;
-- reverse: create index "prompt_workspace_id_name" to table: "prompts"
DROP INDEX `prompt_workspace_id_name`;
-- reverse: create index "prompt_workspace_id_id" to table: "prompts"
DROP INDEX `prompt_workspace_id_id`;
-- reverse: create "prompts" table
DROP TABLE `prompts`;
-- reverse: create index "presence_seen_at" to table: "presences"
DROP INDEX `presence_seen_at`;
-- reverse: create index "presence_workspace_id_subject_id_node" to table: "presences"
DROP INDEX `presence_workspace_id_subject_id_node`;
-- reverse: create "presences" table
DROP TABLE `presences`;
-- reverse: create index "phonecontact_node" to table: "phone_contacts"
DROP INDEX `phonecontact_node`;
-- reverse: create index "phonecontact_expires_at" to table: "phone_contacts"
DROP INDEX `phonecontact_expires_at`;
-- reverse: create index "phonecontact_agent_id_expires_at" to table: "phone_contacts"
DROP INDEX `phonecontact_agent_id_expires_at`;
-- reverse: create index "phonecontact_workspace_id_agent_phone_id" to table: "phone_contacts"
DROP INDEX `phonecontact_workspace_id_agent_phone_id`;
-- reverse: create "phone_contacts" table
DROP TABLE `phone_contacts`;
-- reverse: create index "participant_identity_id" to table: "participants"
DROP INDEX `participant_identity_id`;
-- reverse: create index "participant_customer_id_conversation_id" to table: "participants"
DROP INDEX `participant_customer_id_conversation_id`;
-- reverse: create index "participant_workspace_id_conversation_id_identity_id" to table: "participants"
DROP INDEX `participant_workspace_id_conversation_id_identity_id`;
-- reverse: create "participants" table
DROP TABLE `participants`;
-- reverse: create "outboxes" table
DROP TABLE `outboxes`;
-- reverse: create index "offer_state_expires_at" to table: "offers"
DROP INDEX `offer_state_expires_at`;
-- reverse: create index "offer_interaction_id_offered_at" to table: "offers"
DROP INDEX `offer_interaction_id_offered_at`;
-- reverse: create index "offer_workspace_id_agent_id_state" to table: "offers"
DROP INDEX `offer_workspace_id_agent_id_state`;
-- reverse: create index "offer_workspace_id_interaction_id" to table: "offers"
DROP INDEX `offer_workspace_id_interaction_id`;
-- reverse: create index "offer_workspace_id_id" to table: "offers"
DROP INDEX `offer_workspace_id_id`;
-- reverse: create "offers" table
DROP TABLE `offers`;
-- reverse: create index "note_interaction_id" to table: "notes"
DROP INDEX `note_interaction_id`;
-- reverse: create index "note_conversation_id_id" to table: "notes"
DROP INDEX `note_conversation_id_id`;
-- reverse: create index "note_workspace_id_id" to table: "notes"
DROP INDEX `note_workspace_id_id`;
-- reverse: create "notes" table
DROP TABLE `notes`;
-- reverse: create index "message_workspace_id_ref_id" to table: "messages"
DROP INDEX `message_workspace_id_ref_id`;
-- reverse: create index "message_workspace_id_same_id" to table: "messages"
DROP INDEX `message_workspace_id_same_id`;
-- reverse: create index "message_sender_id" to table: "messages"
DROP INDEX `message_sender_id`;
-- reverse: create index "message_customer_id" to table: "messages"
DROP INDEX `message_customer_id`;
-- reverse: create index "message_workspace_id_identity_id_visible_number" to table: "messages"
DROP INDEX `message_workspace_id_identity_id_visible_number`;
-- reverse: create index "message_conversation_id_id" to table: "messages"
DROP INDEX `message_conversation_id_id`;
-- reverse: create index "message_workspace_id_delivery_id" to table: "messages"
DROP INDEX `message_workspace_id_delivery_id`;
-- reverse: create index "message_workspace_id_channel_id_external_id_direction" to table: "messages"
DROP INDEX `message_workspace_id_channel_id_external_id_direction`;
-- reverse: create index "message_interaction_number" to table: "messages"
DROP INDEX `message_interaction_number`;
-- reverse: create index "message_workspace_id_id" to table: "messages"
DROP INDEX `message_workspace_id_id`;
-- reverse: create "messages" table
DROP TABLE `messages`;
-- reverse: create index "mergesuggestion_conversation_id_merge_suggestion_id" to table: "merge_suggestions"
DROP INDEX `mergesuggestion_conversation_id_merge_suggestion_id`;
-- reverse: create index "mergesuggestion_merge_suggestion_id" to table: "merge_suggestions"
DROP INDEX `mergesuggestion_merge_suggestion_id`;
-- reverse: create "merge_suggestions" table
DROP TABLE `merge_suggestions`;
-- reverse: create index "mergecandidate_workspace_id_state_id" to table: "merge_candidates"
DROP INDEX `mergecandidate_workspace_id_state_id`;
-- reverse: create index "mergecandidate_workspace_id_pair" to table: "merge_candidates"
DROP INDEX `mergecandidate_workspace_id_pair`;
-- reverse: create index "mergecandidate_workspace_id_id" to table: "merge_candidates"
DROP INDEX `mergecandidate_workspace_id_id`;
-- reverse: create "merge_candidates" table
DROP TABLE `merge_candidates`;
-- reverse: create index "mergecandidacy_merge_candidate_id_customer_id" to table: "merge_candidacies"
DROP INDEX `mergecandidacy_merge_candidate_id_customer_id`;
-- reverse: create index "mergecandidacy_customer_id" to table: "merge_candidacies"
DROP INDEX `mergecandidacy_customer_id`;
-- reverse: create "merge_candidacies" table
DROP TABLE `merge_candidacies`;
-- reverse: create index "mention_note_id_agent_id" to table: "mentions"
DROP INDEX `mention_note_id_agent_id`;
-- reverse: create index "mention_workspace_id_note_id_agent_id" to table: "mentions"
DROP INDEX `mention_workspace_id_note_id_agent_id`;
-- reverse: create "mentions" table
DROP TABLE `mentions`;
-- reverse: create index "loghead_workspace_id" to table: "log_heads"
DROP INDEX `loghead_workspace_id`;
-- reverse: create "log_heads" table
DROP TABLE `log_heads`;
-- reverse: create index "leases_name_key" to table: "leases"
DROP INDEX `leases_name_key`;
-- reverse: create "leases" table
DROP TABLE `leases`;
-- reverse: create index "job_state_finished_at" to table: "jobs"
DROP INDEX `job_state_finished_at`;
-- reverse: create index "job_state_lease_until" to table: "jobs"
DROP INDEX `job_state_lease_until`;
-- reverse: create index "job_kind_state_run_at" to table: "jobs"
DROP INDEX `job_kind_state_run_at`;
-- reverse: create index "job_workspace_id_group_key_state_id" to table: "jobs"
DROP INDEX `job_workspace_id_group_key_state_id`;
-- reverse: create index "job_group_running" to table: "jobs"
DROP INDEX `job_group_running`;
-- reverse: create index "job_workspace_id_kind_unique_key" to table: "jobs"
DROP INDEX `job_workspace_id_kind_unique_key`;
-- reverse: create "jobs" table
DROP TABLE `jobs`;
-- reverse: create index "interaction_customer_id" to table: "interactions"
DROP INDEX `interaction_customer_id`;
-- reverse: create index "interaction_workspace_id_identity_id_started_at" to table: "interactions"
DROP INDEX `interaction_workspace_id_identity_id_started_at`;
-- reverse: create index "interaction_workspace_id_agent_id_state" to table: "interactions"
DROP INDEX `interaction_workspace_id_agent_id_state`;
-- reverse: create index "interaction_workspace_id_state_queue_id" to table: "interactions"
DROP INDEX `interaction_workspace_id_state_queue_id`;
-- reverse: create index "interaction_conversation_id_id" to table: "interactions"
DROP INDEX `interaction_conversation_id_id`;
-- reverse: create index "interaction_thread_history" to table: "interactions"
DROP INDEX `interaction_thread_history`;
-- reverse: create index "interaction_workspace_id_channel_id_thread_key" to table: "interactions"
DROP INDEX `interaction_workspace_id_channel_id_thread_key`;
-- reverse: create index "interaction_workspace_id_id" to table: "interactions"
DROP INDEX `interaction_workspace_id_id`;
-- reverse: create "interactions" table
DROP TABLE `interactions`;
-- reverse: create index "identity_customer_id" to table: "identities"
DROP INDEX `identity_customer_id`;
-- reverse: create index "identity_workspace_id_kind_scope_value_blind_claim" to table: "identities"
DROP INDEX `identity_workspace_id_kind_scope_value_blind_claim`;
-- reverse: create index "identity_workspace_id_id" to table: "identities"
DROP INDEX `identity_workspace_id_id`;
-- reverse: create "identities" table
DROP TABLE `identities`;
-- reverse: create index "idempotencykey_at" to table: "idempotency_keys"
DROP INDEX `idempotencykey_at`;
-- reverse: create index "idempotencykey_workspace_id_actor_id_key" to table: "idempotency_keys"
DROP INDEX `idempotencykey_workspace_id_actor_id_key`;
-- reverse: create "idempotency_keys" table
DROP TABLE `idempotency_keys`;
-- reverse: create index "follower_conversation_id_agent_id" to table: "followers"
DROP INDEX `follower_conversation_id_agent_id`;
-- reverse: create index "follower_workspace_id_conversation_id_agent_id" to table: "followers"
DROP INDEX `follower_workspace_id_conversation_id_agent_id`;
-- reverse: create "followers" table
DROP TABLE `followers`;
-- reverse: create index "flowversion_flow_id" to table: "flow_versions"
DROP INDEX `flowversion_flow_id`;
-- reverse: create index "flowversion_workspace_id_flow_id_number" to table: "flow_versions"
DROP INDEX `flowversion_workspace_id_flow_id_number`;
-- reverse: create index "flowversion_workspace_id_id" to table: "flow_versions"
DROP INDEX `flowversion_workspace_id_id`;
-- reverse: create "flow_versions" table
DROP TABLE `flow_versions`;
-- reverse: create index "flow_workspace_id_name" to table: "flows"
DROP INDEX `flow_workspace_id_name`;
-- reverse: create index "flow_workspace_id_id" to table: "flows"
DROP INDEX `flow_workspace_id_id`;
-- reverse: create "flows" table
DROP TABLE `flows`;
-- reverse: create index "event_identity_id_seq" to table: "events"
DROP INDEX `event_identity_id_seq`;
-- reverse: create index "event_at" to table: "events"
DROP INDEX `event_at`;
-- reverse: create index "event_workspace_id_seq" to table: "events"
DROP INDEX `event_workspace_id_seq`;
-- reverse: create "events" table
DROP TABLE `events`;
-- reverse: create index "customermergepart_customer_merge_id_customer_id" to table: "customer_merge_parts"
DROP INDEX `customermergepart_customer_merge_id_customer_id`;
-- reverse: create index "customermergepart_customer_id" to table: "customer_merge_parts"
DROP INDEX `customermergepart_customer_id`;
-- reverse: create "customer_merge_parts" table
DROP TABLE `customer_merge_parts`;
-- reverse: create index "customermerge_into_id_at_id" to table: "customer_merges"
DROP INDEX `customermerge_into_id_at_id`;
-- reverse: create index "customermerge_workspace_id_id" to table: "customer_merges"
DROP INDEX `customermerge_workspace_id_id`;
-- reverse: create "customer_merges" table
DROP TABLE `customer_merges`;
-- reverse: create index "customer_workspace_id_id" to table: "customers"
DROP INDEX `customer_workspace_id_id`;
-- reverse: create "customers" table
DROP TABLE `customers`;
-- reverse: create index "counter_workspace_id_name" to table: "counters"
DROP INDEX `counter_workspace_id_name`;
-- reverse: create "counters" table
DROP TABLE `counters`;
-- reverse: create index "conversationmerge_into_id" to table: "conversation_merges"
DROP INDEX `conversationmerge_into_id`;
-- reverse: create index "conversationmerge_workspace_id_from_id" to table: "conversation_merges"
DROP INDEX `conversationmerge_workspace_id_from_id`;
-- reverse: create "conversation_merges" table
DROP TABLE `conversation_merges`;
-- reverse: create index "conversation_customer_id_state" to table: "conversations"
DROP INDEX `conversation_customer_id_state`;
-- reverse: create index "conversation_workspace_id_number" to table: "conversations"
DROP INDEX `conversation_workspace_id_number`;
-- reverse: create index "conversation_workspace_id_owner_id_updated_at" to table: "conversations"
DROP INDEX `conversation_workspace_id_owner_id_updated_at`;
-- reverse: create index "conversation_workspace_id_updated_at_id" to table: "conversations"
DROP INDEX `conversation_workspace_id_updated_at_id`;
-- reverse: create index "conversation_workspace_id_id" to table: "conversations"
DROP INDEX `conversation_workspace_id_id`;
-- reverse: create "conversations" table
DROP TABLE `conversations`;
-- reverse: create index "consultant_interaction_id_agent_id" to table: "consultants"
DROP INDEX `consultant_interaction_id_agent_id`;
-- reverse: create index "consultant_workspace_id_interaction_id_agent_id" to table: "consultants"
DROP INDEX `consultant_workspace_id_interaction_id_agent_id`;
-- reverse: create "consultants" table
DROP TABLE `consultants`;
-- reverse: create index "cluster_nodes_name_key" to table: "cluster_nodes"
DROP INDEX `cluster_nodes_name_key`;
-- reverse: create "cluster_nodes" table
DROP TABLE `cluster_nodes`;
-- reverse: create index "channel_public_key" to table: "channels"
DROP INDEX `channel_public_key`;
-- reverse: create index "channel_workspace_id_name" to table: "channels"
DROP INDEX `channel_workspace_id_name`;
-- reverse: create index "channel_workspace_id_id" to table: "channels"
DROP INDEX `channel_workspace_id_id`;
-- reverse: create "channels" table
DROP TABLE `channels`;
-- reverse: create index "capacityprofile_workspace_id_name" to table: "capacity_profiles"
DROP INDEX `capacityprofile_workspace_id_name`;
-- reverse: create index "capacityprofile_workspace_id_id" to table: "capacity_profiles"
DROP INDEX `capacityprofile_workspace_id_id`;
-- reverse: create "capacity_profiles" table
DROP TABLE `capacity_profiles`;
-- reverse: create index "callleg_offer_id" to table: "call_legs"
DROP INDEX `callleg_offer_id`;
-- reverse: create index "callleg_workspace_id_agent_id_state" to table: "call_legs"
DROP INDEX `callleg_workspace_id_agent_id_state`;
-- reverse: create index "callleg_call_id_started_at" to table: "call_legs"
DROP INDEX `callleg_call_id_started_at`;
-- reverse: create "call_legs" table
DROP TABLE `call_legs`;
-- reverse: create index "callfact_call_id" to table: "call_facts"
DROP INDEX `callfact_call_id`;
-- reverse: create index "callfact_workspace_id_call_id_number" to table: "call_facts"
DROP INDEX `callfact_workspace_id_call_id_number`;
-- reverse: create "call_facts" table
DROP TABLE `call_facts`;
-- reverse: create index "call_workspace_id_created_at_id" to table: "calls"
DROP INDEX `call_workspace_id_created_at_id`;
-- reverse: create index "call_state_beat_at" to table: "calls"
DROP INDEX `call_state_beat_at`;
-- reverse: create index "call_node_state" to table: "calls"
DROP INDEX `call_node_state`;
-- reverse: create index "call_interaction_id_created_at" to table: "calls"
DROP INDEX `call_interaction_id_created_at`;
-- reverse: create index "call_workspace_id_interaction_id" to table: "calls"
DROP INDEX `call_workspace_id_interaction_id`;
-- reverse: create index "call_workspace_id_arrival" to table: "calls"
DROP INDEX `call_workspace_id_arrival`;
-- reverse: create index "call_workspace_id_id" to table: "calls"
DROP INDEX `call_workspace_id_id`;
-- reverse: create "calls" table
DROP TABLE `calls`;
-- reverse: create index "attachment_blob_key" to table: "attachments"
DROP INDEX `attachment_blob_key`;
-- reverse: create index "attachment_workspace_id_state_created_at" to table: "attachments"
DROP INDEX `attachment_workspace_id_state_created_at`;
-- reverse: create index "attachment_creator_id" to table: "attachments"
DROP INDEX `attachment_creator_id`;
-- reverse: create index "attachment_message_id" to table: "attachments"
DROP INDEX `attachment_message_id`;
-- reverse: create index "attachment_workspace_id_id" to table: "attachments"
DROP INDEX `attachment_workspace_id_id`;
-- reverse: create "attachments" table
DROP TABLE `attachments`;
-- reverse: create index "assignment_workspace_id_agent_id_started_at" to table: "assignments"
DROP INDEX `assignment_workspace_id_agent_id_started_at`;
-- reverse: create index "assignment_interaction_id_started_at" to table: "assignments"
DROP INDEX `assignment_interaction_id_started_at`;
-- reverse: create index "assignment_workspace_id_id" to table: "assignments"
DROP INDEX `assignment_workspace_id_id`;
-- reverse: create "assignments" table
DROP TABLE `assignments`;
-- reverse: create index "arrival_channel_id" to table: "arrivals"
DROP INDEX `arrival_channel_id`;
-- reverse: create index "arrival_message_id" to table: "arrivals"
DROP INDEX `arrival_message_id`;
-- reverse: create index "arrival_workspace_id_message_id_channel_id" to table: "arrivals"
DROP INDEX `arrival_workspace_id_message_id_channel_id`;
-- reverse: create "arrivals" table
DROP TABLE `arrivals`;
-- reverse: create index "app_workspace_id_id" to table: "apps"
DROP INDEX `app_workspace_id_id`;
-- reverse: create "apps" table
DROP TABLE `apps`;
-- reverse: create index "agentstatus_agent_id_since" to table: "agent_status"
DROP INDEX `agentstatus_agent_id_since`;
-- reverse: create index "agentstatus_workspace_id_agent_id" to table: "agent_status"
DROP INDEX `agentstatus_workspace_id_agent_id`;
-- reverse: create index "agentstatus_workspace_id_id" to table: "agent_status"
DROP INDEX `agentstatus_workspace_id_id`;
-- reverse: create "agent_status" table
DROP TABLE `agent_status`;
-- reverse: create index "agentskill_agent_id_skill_id" to table: "agent_skills"
DROP INDEX `agentskill_agent_id_skill_id`;
-- reverse: create index "agentskill_skill_id_agent_id" to table: "agent_skills"
DROP INDEX `agentskill_skill_id_agent_id`;
-- reverse: create index "agentskill_workspace_id_agent_id_skill_id" to table: "agent_skills"
DROP INDEX `agentskill_workspace_id_agent_id_skill_id`;
-- reverse: create "agent_skills" table
DROP TABLE `agent_skills`;
-- reverse: create index "agentphone_username" to table: "agent_phones"
DROP INDEX `agentphone_username`;
-- reverse: create index "agentphone_workspace_id_username" to table: "agent_phones"
DROP INDEX `agentphone_workspace_id_username`;
-- reverse: create index "agentphone_workspace_id_agent_id_label" to table: "agent_phones"
DROP INDEX `agentphone_workspace_id_agent_id_label`;
-- reverse: create index "agentphone_workspace_id_id" to table: "agent_phones"
DROP INDEX `agentphone_workspace_id_id`;
-- reverse: create "agent_phones" table
DROP TABLE `agent_phones`;
-- reverse: create index "agentload_workspace_id_agent_id" to table: "agent_loads"
DROP INDEX `agentload_workspace_id_agent_id`;
-- reverse: create index "agent_loads_agent_id_key" to table: "agent_loads"
DROP INDEX `agent_loads_agent_id_key`;
-- reverse: create "agent_loads" table
DROP TABLE `agent_loads`;
-- reverse: create index "agent_invitation_hash" to table: "agents"
DROP INDEX `agent_invitation_hash`;
-- reverse: create index "agent_workspace_id_email_blind" to table: "agents"
DROP INDEX `agent_workspace_id_email_blind`;
-- reverse: create index "agent_workspace_id_id" to table: "agents"
DROP INDEX `agent_workspace_id_id`;
-- reverse: create "agents" table
DROP TABLE `agents`;
-- reverse: create index "access_workspace_id_subject_id_conversation_id" to table: "accesses"
DROP INDEX `access_workspace_id_subject_id_conversation_id`;
-- reverse: create index "access_workspace_id_conversation_id_subject_id_reason" to table: "accesses"
DROP INDEX `access_workspace_id_conversation_id_subject_id_reason`;
-- reverse: create "accesses" table
DROP TABLE `accesses`;
-- reverse: create index "apikey_hash" to table: "api_keys"
DROP INDEX `apikey_hash`;
-- reverse: create index "apikey_workspace_id_id" to table: "api_keys"
DROP INDEX `apikey_workspace_id_id`;
-- reverse: create "api_keys" table
DROP TABLE `api_keys`;
