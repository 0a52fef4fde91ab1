// The catalogue's schema as one ordered list: migration n brings user_version from n to n + 1. Never edited, only added to.

export const MIGRATIONS: readonly string[] = [
  `
  -- One row a base that siphon claims or fills. id is FSID/POOLID[.NAMESPACE]/IMAGEID@SNAPID; times are ms since the epoch.
  CREATE TABLE bases (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('filling', 'ready', 'suspect', 'evicting')),
    name TEXT NOT NULL,             -- JSON: SourceName
    format TEXT NOT NULL,
    source_format TEXT NOT NULL,
    virtual_size_bytes INTEGER NOT NULL,
    source_size_bytes INTEGER NOT NULL,
    allocated_bytes INTEGER NOT NULL,
    digests TEXT NOT NULL,          -- JSON: Digests
    verification TEXT NOT NULL,     -- JSON: Verification
    signatures TEXT NOT NULL,       -- JSON: the signatures (base64) that were found good
    file TEXT,                      -- JSON: {sizeBytes, mtimeMs} as published; null before
    problem TEXT,                   -- why it is suspect
    created_at_ms INTEGER NOT NULL,
    last_used_at_ms INTEGER NOT NULL
  ) STRICT;

  -- Neither a pin nor a lease refers to a row of bases: an overlay may need a base that is not there (any more).
  CREATE TABLE pins (base_id TEXT PRIMARY KEY, created_at_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE leases (
    base_id TEXT NOT NULL,
    format TEXT NOT NULL,           -- the suffix by which the overlay names the base
    domain_uuid TEXT NOT NULL,
    domain_name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('running', 'defined')),
    PRIMARY KEY (domain_uuid, kind, base_id, format)
  ) STRICT;

  CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'done', 'failed', 'cancelled')),
    step TEXT NOT NULL,
    data TEXT NOT NULL,             -- JSON
    error TEXT,                     -- JSON: WireError
    result TEXT,                    -- JSON
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX jobs_by_state ON jobs (state, updated_at_ms);
  CREATE INDEX jobs_by_age ON jobs (created_at_ms);

  CREATE TABLE snapshot_sets (
    id TEXT PRIMARY KEY,
    domain_uuid TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('taking', 'complete', 'deleting')),
    created_at_ms INTEGER NOT NULL,
    record TEXT NOT NULL            -- JSON: SnapshotSet
  ) STRICT;
  CREATE INDEX snapshot_sets_by_domain ON snapshot_sets (domain_uuid, created_at_ms);
  `,
  `
  -- What may not begin until an operator resumes it.
  CREATE TABLE pauses (
    work TEXT PRIMARY KEY CHECK (work IN ('fills', 'snapshots')),
    since_ms INTEGER NOT NULL,
    claimed_by TEXT                 -- who said that it was them
  ) STRICT;
  `,
  `
  -- Of which table the chunks of a base's source are. A table in which no base is named is a fill's that did not end.
  ALTER TABLE bases ADD COLUMN chunk_table TEXT; -- JSON: {sha256, chunkBytes}
  CREATE TABLE chunk_tables (
    sha256 TEXT PRIMARY KEY,        -- of bytes
    bytes BLOB NOT NULL
  ) STRICT;
  `,
  `
  -- When all of a base's file was found good on the disk; null: never. Whether it is suspect for its file alone, which can be looked at.
  ALTER TABLE bases ADD COLUMN scrubbed_at_ms INTEGER;
  ALTER TABLE bases ADD COLUMN is_file_in_doubt INTEGER NOT NULL DEFAULT 0 CHECK (is_file_in_doubt IN (0, 1));
  `,
];
