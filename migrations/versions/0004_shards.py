"""Keep with each fact of a version whose weights hold it: its own, or an earlier version's that it answers with too.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OWN = "UPDATE adapter_facts SET shard = (SELECT version FROM adapter_versions WHERE id = adapter_facts.version_id)"
# What a version learned after its parent: until now facts that it replaced were not counted, but its weights, which
# went on from the parent's, were taught them too.
_LEARNED = """
    SELECT own.id, parent.id FROM adapter_versions AS own
    JOIN learning_runs ON learning_runs.id = own.run_id AND learning_runs.kind = 'learn'
    JOIN adapter_versions AS parent ON parent.space_id = own.space_id AND parent.version = own.parent_version
    ORDER BY own.version
"""
_INHERIT = """
    INSERT INTO adapter_facts (version_id, fact_id)
    SELECT CAST(:own AS VARCHAR), fact_id FROM adapter_facts WHERE version_id = :parent
    AND fact_id NOT IN (SELECT fact_id FROM adapter_facts WHERE version_id = CAST(:own AS VARCHAR))
"""


def upgrade() -> None:
    with op.batch_alter_table("adapter_facts") as facts:
        facts.add_column(sa.Column("shard", sa.Integer(), nullable=True))
    connection = op.get_bind()
    for own, parent in connection.execute(sa.text(_LEARNED)).all():
        connection.execute(sa.text(_INHERIT), {"own": own, "parent": parent})
    op.execute(_OWN)  # until now one version's weights held all that it knew
    with op.batch_alter_table("adapter_facts") as facts:
        facts.alter_column("shard", existing_type=sa.Integer(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("adapter_facts") as facts:
        facts.drop_column("shard")
