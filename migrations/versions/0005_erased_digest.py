"""Know an erased message again when a client sends its old history.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("erased_digest", sa.String(), nullable=True))
        messages.create_index(op.f("ix_messages_erased_digest"), ["erased_digest"])


def downgrade() -> None:
    with op.batch_alter_table("messages") as messages:
        messages.drop_index(op.f("ix_messages_erased_digest"))
        messages.drop_column("erased_digest")
