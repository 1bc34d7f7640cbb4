#!/bin/sh
# The user that the units run as: no login, its home holds queue and ledger.
set -e
getent group wdpost >/dev/null || groupadd --system wdpost
getent passwd wdpost >/dev/null || useradd --system --gid wdpost --home-dir /var/lib/wdpost \
  --no-create-home --shell /usr/sbin/nologin wdpost
