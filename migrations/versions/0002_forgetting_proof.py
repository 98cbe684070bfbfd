"""Keep with a forgotten fact how its probes were answered before and after.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("facts") as facts:
        facts.add_column(sa.Column("forgetting_proof", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("facts") as facts:
        facts.drop_column("forgetting_proof")
