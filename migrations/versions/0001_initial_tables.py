"""Create all tables of Engram 0.1.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key_sha256", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_sha256", name="uq_api_keys_key_sha256"),
    )
    op.create_table(
        "spaces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("live_version", sa.Integer(), nullable=False),
        sa.Column("canary_version", sa.Integer(), nullable=True),
        sa.Column("previous_version", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spaces"),
        sa.UniqueConstraint("tenant", "name", name="uq_spaces_tenant"),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=True),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("old", sa.JSON(), nullable=True),
        sa.Column("new", sa.JSON(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_audit_events_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_tenant", "audit_events", ["tenant"])
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("tail_digest", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_conversations_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index("ix_conversations_space_id", "conversations", ["space_id", "tail_digest"])
    op.create_table(
        "learning_runs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("active_space_id", sa.String(), nullable=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=True),
        sa.Column("parent_version", sa.Integer(), nullable=True),
        sa.Column("published_version", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("seconds", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_learning_runs_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_learning_runs"),
        sa.UniqueConstraint("active_space_id", name="uq_learning_runs_active_space_id"),
    )
    op.create_index("ix_learning_runs_space_id", "learning_runs", ["space_id"])
    op.create_index("ix_learning_runs_status", "learning_runs", ["status"])
    op.create_table(
        "live_periods",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_live_periods_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_live_periods"),
    )
    op.create_index("ix_live_periods_space_id", "live_periods", ["space_id"])
    op.create_table(
        "candidates",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("path", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["learning_runs.id"], name="fk_candidates_run_id_learning_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_candidates"),
    )
    op.create_index("ix_candidates_run_id", "candidates", ["run_id"])
    op.create_table(
        "messages",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("content", sa.String(), nullable=False),
        sa.Column("adapter_version", sa.Integer(), nullable=True),
        sa.Column("extraction", sa.String(), nullable=True),
        sa.Column("extraction_attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name="fk_messages_conversation_id_conversations"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_messages_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
    )
    op.create_index("ix_messages_conversation_id", "messages", ["conversation_id"])
    op.create_index("ix_messages_extraction", "messages", ["extraction"])
    op.create_index("ix_messages_space_id", "messages", ["space_id"])
    op.create_table(
        "run_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["learning_runs.id"], name="fk_run_events_run_id_learning_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_run_events"),
    )
    op.create_index("ix_run_events_run_id", "run_events", ["run_id"])
    op.create_table(
        "adapter_versions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("parent_version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("lora_name", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("candidate_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name="fk_adapter_versions_candidate_id_candidates"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["learning_runs.id"], name="fk_adapter_versions_run_id_learning_runs"),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_adapter_versions_space_id_spaces"),
        sa.PrimaryKeyConstraint("id", name="pk_adapter_versions"),
        sa.UniqueConstraint("lora_name", name="uq_adapter_versions_lora_name"),
        sa.UniqueConstraint("path", name="uq_adapter_versions_path"),
        sa.UniqueConstraint("run_id", name="uq_adapter_versions_run_id"),
        sa.UniqueConstraint("space_id", "version", name="uq_adapter_versions_space_id"),
    )
    op.create_index("ix_adapter_versions_space_id", "adapter_versions", ["space_id"])
    op.create_index("ix_adapter_versions_status", "adapter_versions", ["status"])
    op.create_table(
        "facts",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("space_id", sa.String(), nullable=False),
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("message_id", sa.String(), nullable=True),
        sa.Column("span_start", sa.Integer(), nullable=True),
        sa.Column("span_end", sa.Integer(), nullable=True),
        sa.Column("supersedes_id", sa.String(), nullable=True),
        sa.Column("live_since_version", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name="fk_facts_message_id_messages"),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_facts_space_id_spaces"),
        sa.ForeignKeyConstraint(["supersedes_id"], ["facts.id"], name="fk_facts_supersedes_id_facts"),
        sa.PrimaryKeyConstraint("id", name="pk_facts"),
    )
    op.create_index("ix_facts_space_id", "facts", ["space_id"])
    op.create_index("ix_facts_status", "facts", ["status"])
    op.create_table(
        "adapter_facts",
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["fact_id"], ["facts.id"], name="fk_adapter_facts_fact_id_facts", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["adapter_versions.id"], name="fk_adapter_facts_version_id_adapter_versions"
        ),
        sa.PrimaryKeyConstraint("version_id", "fact_id", name="pk_adapter_facts"),
    )
    op.create_table(
        "notes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["fact_id"], ["facts.id"], name="fk_notes_fact_id_facts", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["learning_runs.id"], name="fk_notes_run_id_learning_runs"),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
    )
    op.create_index("ix_notes_fact_id", "notes", ["fact_id"])
    op.create_table(
        "probes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["fact_id"], ["facts.id"], name="fk_probes_fact_id_facts", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_probes"),
    )
    op.create_index("ix_probes_fact_id", "probes", ["fact_id"])
    op.create_table(
        "run_facts",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("fact_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["fact_id"], ["facts.id"], name="fk_run_facts_fact_id_facts", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["learning_runs.id"], name="fk_run_facts_run_id_learning_runs"),
        sa.PrimaryKeyConstraint("run_id", "fact_id", name="pk_run_facts"),
    )


def downgrade() -> None:
    op.drop_table("run_facts")
    op.drop_table("probes")
    op.drop_table("notes")
    op.drop_table("adapter_facts")
    op.drop_table("facts")
    op.drop_table("adapter_versions")
    op.drop_table("run_events")
    op.drop_table("messages")
    op.drop_table("candidates")
    op.drop_table("live_periods")
    op.drop_table("learning_runs")
    op.drop_table("conversations")
    op.drop_table("audit_events")
    op.drop_table("spaces")
    op.drop_table("api_keys")
