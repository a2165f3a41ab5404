/*
 * limits.h - the limits of the suite, with their units and reasons. Nothing that a client, a peer
 * or a file can size is without one. The defaults of flags are rows of etcd-server/config_flags.c;
 * those that others count on stand here too, and tests/unit/config_test.c compares. A number that
 * one file alone works with stands there.
 */
#ifndef COMMON_BASE_LIMITS_H
#define COMMON_BASE_LIMITS_H

#define KIB (1024UL)
#define MIB (1024UL * KIB)
#define GIB (1024UL * MIB)

/* ---- requests (api.md 1) ---- */

/* marshalled InternalRaftRequest; --max-request-bytes */
#define MAX_REQUEST_BYTES_DEFAULT 1572864UL
/* a message may be that much larger than a proposal */
#define REQUEST_OVERHEAD_BYTES (512UL * KIB)
/* a request waits so long and two election timeouts: engine_patience_ms() */
#define REQUEST_PATIENCE_MS 5000UL
#define MAX_TXN_OPS_DEFAULT 128UL /* --max-txn-ops */
/* txns one inside the other, as MAX_TXN_OPS_DEFAULT lets etcd take them: recursion is bounded by
 * it, so ... */
#define TXN_DEPTH_MAX 128UL
/* ... are messages: an inner txn is two levels. At the doors; what is in the log may nest deeper
 * (common/schema/txn_unpack.h) */
#define MESSAGE_DEPTH_MAX (2 * TXN_DEPTH_MAX + 8)
/* of an entry of the log, decoded: another member took it, whatever its limits are. Two bytes make
 * at most a message of 128, 40 around it, what finds it, 72, and as much that blocks leave over;
 * and once more when groups are in it (txn_unpack.h) */
#define ENTRY_ARENA_PER_BYTE 400UL
#define ENTRY_ARENA_KEPT_BYTES (1UL * MIB) /* from one entry to the next */
/* one decoded request: many small messages cost more than their bytes */
#define CALL_ARENA_MAX_BYTES (256UL * MIB)
#define QUOTA_BACKEND_BYTES_DEFAULT (2UL * GIB)

/* ---- JSON gateway ---- */

/* base64 and names make a body larger than its message */
#define JSON_BODY_MAX_BYTES (16UL * MIB)
/* nesting of a body: the same txns, three levels each */
#define JSON_DEPTH_MAX (3 * TXN_DEPTH_MAX + 8)

#define FREE_MEMORY_MAX_BYTES (32UL * MIB) /* kept for the next need; more goes to the system */

/* ---- HTTP/1.1 ---- */

#define HTTP_HEADER_MAX_BYTES (64UL * KIB) /* request line and headers together */
#define HTTP_HEADERS_MAX 100UL             /* header lines of one request */
#define HTTP_PIPELINE_MAX 32UL             /* requests of one connection that wait for their turn */
/* above this a connection's producers pause. With the piece that passes it a little less than two
 * loopback segments, or a small third one costs as much; and little enough to stay in the cache
 * until the kernel copies it ... */
#define HTTP_OUT_HIGH_BYTES (112UL * KIB)
#define HTTP_OUT_LOW_BYTES (32UL * KIB)      /* ... until the socket has drained to this */
#define HTTP_OUT_MAX_BYTES (2UL * GIB)       /* one answer that cannot be made in pieces */
#define HTTP_BODY_OPEN_MAX_BYTES (1UL * MIB) /* of a body in pieces, not used up: stop reading */
#define CONNECTIONS_MAX 20000UL              /* open connections per listener */
/* descriptors that no connection gets: files, the log, what we dial; as many as etcd's */
#define FDS_KEPT 150UL
#define FDS_FOR_PEERS_SHARE 4UL        /* one of so many connections is kept for members ... */
#define FDS_FOR_PEERS_MAX 1024UL       /* ... but no more than this */
#define HANDSHAKE_TIMEOUT_MS 10000UL   /* TLS handshake done within */
#define HEADER_TIMEOUT_MS 30000UL      /* first byte to end of headers */
#define BODY_TIMEOUT_MS 60000UL        /* end of headers to end of body, without progress */
#define BODY_LEAST_BYTES 1024UL        /* less of a body than this is no progress, either way */
#define IDLE_TIMEOUT_MS 300000UL       /* a kept-alive connection without a request */
#define WRITE_STALL_TIMEOUT_MS 60000UL /* a client that reads nothing of its answer ... */
/* ... that holds a view of the store: compactions wait for it, and the file grows. Less read than
 * this is nothing */
#define VIEW_LEAST_BYTES (512UL * KIB)
/* a silent client's machine is asked whether it is there, as etcd ... */
#define TCP_KEEPALIVE_S 30
#define TCP_KEEPALIVE_PROBES 9 /* ... does, and given up after so many without an answer */
#define HTTP1_HALF_CLOSE_GRACE_MS 1000UL /* a client that only reads on: for its answer */
#define LINGER_TIMEOUT_MS 1000UL         /* after our end of a connection, for the client's */
#define SHUTDOWN_TIMEOUT_MS 7000UL       /* a stopping server lets answers finish within */

/* ---- HTTP/2 and gRPC: of one connection, where nothing else is said ---- */

#define HTTP2_STREAMS_MAX 20000UL       /* open streams; --max-concurrent-streams may lower it */
#define HTTP2_INCOMPLETE_MAX 2000UL     /* those whose request has not come whole */
#define HTTP2_WINDOW_BYTES (16UL * MIB) /* all its streams together may send so much unread */
/* A stream may send so much unasked (64 KiB in base64, and what goes with it) ... */
#define HTTP2_WIDE_WINDOW_BYTES (96UL * KIB)
/* ... while no more requests than this have not come whole; then this much: of
 * HTTP2_INCOMPLETE_MAX it is 32 MiB ... */
#define HTTP2_WIDE_STREAMS_MAX 128UL
#define HTTP2_NARROW_WINDOW_BYTES (16UL * KIB)
#define HTTP2_WINDOW_KEEP_MS 1000UL /* what was made narrow stays so for this long */
/* ... streams whose messages are larger share this, besides one ... */
#define HTTP2_LENT_MAX_BYTES (16UL * MIB)
#define HTTP2_STEPS_MAX_BYTES (8UL * MIB) /* ... and those that wait for it go on with this */
#define HTTP2_STEP_BYTES (64UL * KIB)     /* ... twice what has come, or so much more than that */
/* nothing came of a stream that was lent some while others wait: it is refused */
#define HTTP2_LENT_STALL_MS 10000UL
#define HTTP2_LENT_LEAST_BYTES (16UL * KIB) /* ... less than this is nothing, then ... */
/* ... unless so much came of all together: it is the network that is slow */
#define HTTP2_LENT_PACE_BYTES (128UL * KIB)
/* bodies not yet used up, besides one message; above, streams are refused */
#define HTTP2_BODIES_MAX_BYTES (72UL * MIB)
/* answers the windows hold back; above, no new calls */
#define HTTP2_UNREAD_MAX_BYTES (16UL * MIB)
#define HTTP2_UNREAD_END_BYTES (256UL * MIB) /* the same; above, the connection ends */
#define HTTP2_INPUT_TURN_BYTES (16UL * KIB)  /* looked at in one turn of the loop */
#define HTTP2_OUT_STOP_BYTES (1UL * MIB)     /* bytes not sent at which nothing is read any more */
#define HTTP2_QUEUE_MAX 4096UL               /* frames not yet made into bytes, likewise */
#define HTTP2_CONTROL_PER_S 20000UL         /* PING, SETTINGS, PRIORITY and empty frames a second */
#define HTTP2_CONTROL_BURST 50000UL         /* ... and so many at once */
#define HTTP2_RESETS_PER_S 1000UL           /* streams that the client cancels, a second */
#define HTTP2_RESETS_BURST 10000UL          /* ... and so many at once */
#define HTTP2_ACKS_MAX 1000UL               /* PING and SETTINGS answers not yet sent */
#define HTTP2_HEAD_END_BYTES (256UL * KIB)  /* of a head, unpacked; above, the connection ends */
#define HTTP2_CONTINUATIONS_MAX 16UL        /* pieces of one head */
#define HTTP2_PING_STRIKES 2                /* pings too early before the connection ends */
#define GRPC_MESSAGE_MAX_BYTES 2147483647UL /* largest message sent (api.md 1) */
#define GRPC_RANGE_WHOLE_BYTES (16UL * KIB) /* a larger range is measured, then pulled */
#define GRPC_RANGE_GZIP_BYTES (1UL * MIB)   /* the same for a compressed call; above, it is plain */
#define GRPC_RANGE_KEPT_BYTES (1UL * MIB)   /* of one range: where its key-values are ... */
#define GRPC_RANGES_KEPT_BYTES (64UL * MIB) /* ... and of all; above, they are looked for again */

/* ---- TLS and certificates ---- */

#define TLS_INPUT_MAX_BYTES (64UL * KIB)   /* ciphertext of one connection not yet decrypted */
#define TLS_OUTPUT_MAX_BYTES (256UL * KIB) /* ciphertext of one connection not yet sent */
#define PEM_FILE_MAX_BYTES (16UL * MIB)    /* certificate, key, CA bundle or CRL file */
#define PEM_BLOCKS_MAX 4096UL              /* blocks of one PEM file */
#define CERT_SANS_MAX 100UL                /* alternative names put into one certificate */
#define CERT_CN_MAX 64UL                   /* characters of a common name (RFC 5280 A.1) */
#define SELF_SIGNED_YEARS_MAX 1000UL       /* --auto-tls; a date has four digits for its year */
#define PASSPHRASE_MAX_BYTES 1024UL        /* of a CA's key */
#define PASSPHRASE_ROUNDS 600000           /* PBKDF2 with SHA-256: a tenth of a second, once */
#define PASSPHRASE_ROUNDS_MAX 5000000L     /* asked for by a key file; more is an attack */

/* ---- authentication ---- */

#define TOKENS_MAX 100000UL          /* simple tokens kept; above it the least recently used goes */
#define TOKEN_BYTES_MAX (16UL * KIB) /* a token that is looked at; a JWT has some hundred bytes */
#define PASSWORD_JOBS_MAX 64UL       /* passwords being hashed or checked; others wait ... */
#define PASSWORDS_WAITING_MAX 10000UL       /* ... above this their calls are refused ... */
#define PASSWORDS_WAITING_BYTES (4UL * MIB) /* ... or above so many bytes of them */
/* rounds of bcrypt, as a power of two: its own range, and --bcrypt-cost */
#define BCRYPT_COST_MIN 4
#define BCRYPT_COST_MAX 31
#define BCRYPT_COST_DEFAULT 10
#define PASSWORD_BYTES_MAX 72UL /* bcrypt looks at no more */

/* ---- store ---- */

/* applied but not yet in the backend; above it proposals wait ... */
#define WRITE_BUFFER_MAX_BYTES (64UL * MIB)
/* ... and above this they are refused; with those that wait for a leader, for it is one memory */
#define PROPOSALS_WAITING_MAX_BYTES (64UL * MIB)
/* applied but not yet in the backend of a follower; above it no entries are taken */
#define BACKLOG_MAX_BYTES (1UL * GIB)
#define RANGE_CHUNK_BYTES (56UL * KIB) /* pieces of a large range: half of HTTP_OUT_HIGH_BYTES */
#define RANGE_SLICE_KEYS 1000UL        /* index entries one slice of a large range walks */
#define RUN_MAX_BYTES (256UL * KIB)    /* key-values of a leaf, kept as answers have them ... */
#define RUNS_MAX_BYTES (16UL * MIB)    /* ... and of all leaves ... */
#define RUNS_LENT_BYTES (64UL * MIB)   /* ... in answers that are being sent; above, no others */
#define RANGE_STREAM_KEYS 10UL         /* key-values of the first message of a RangeStream ... */
#define RANGE_STREAM_KEYS_MAX 10240UL  /* ... and of a later one: what a turn may make */
#define BACKEND_BATCH_INTERVAL_MS_DEFAULT 100UL
#define BACKEND_BATCH_LIMIT_DEFAULT 10000UL /* operations */
#define BACKEND_MAP_BYTES (1UL << 40)       /* address space for LMDB; the file grows as needed */
/* pinned read transactions: ranges, snapshots, hashes in progress */
#define BACKEND_READERS_MAX 4096U
/* bytes of a key in a bucket (LMDB): user, role and member names are checked against it */
#define BACKEND_KEY_MAX 511UL
#define BACKEND_FILL_BYTES (8UL * MIB)  /* one transaction when a backend is filled in bulk */
#define REVISION_MAX (INT64_MAX / 2)    /* in a file; leaves room to count on */
#define COMPACTION_BATCH_DEFAULT 1000UL /* revisions per step */
#define COMPACTION_SLEEP_MS_DEFAULT 10UL
#define ALARMS_MAX 1024  /* members are named as clients like: they could invent some for ever */
#define HASHES_KEPT 10UL /* hashes remembered at compactions (formats.md 11.4) */
/* revisions that clients, and as many that members, wait to have hashed: each is a walk over the
 * store */
#define HASHES_WAITING_MAX 16UL

/* ---- leases (raft.md 9.6) ---- */

#define LEASE_REVOKES_PER_SECOND 1000UL   /* of expired leases: a storm must not starve writes */
#define LEASE_REVOKES_IN_FLIGHT_MAX 500UL /* proposed and not yet applied */
#define LEASE_REVOKE_RETRY_MS 500UL       /* after a refusal to take the proposal */
#define LEASE_CHECKPOINT_INTERVAL_MS (5UL * 60 * 1000)
#define LEASE_CHECKPOINT_BATCH_MAX 1000UL  /* leases in one proposal */
#define LEASE_KEEPALIVES_QUEUED_MAX 4096UL /* messages of one stream behind one that must wait */

/* ---- watch (api.md 7) ---- */

/* between progress notifications of a watch that asks for them */
#define WATCH_NOTIFY_S_DEFAULT 600
#define WATCH_STEP_RECORDS 64UL       /* of history read in one step, some 15 us ... */
#define WATCH_STEP_BYTES (64UL * KIB) /* ... and of events, after which it reads no more */
/* so many times what is written meanwhile is read: those behind catch up with whoever writes */
#define WATCH_HASTE 4
#define WATCH_OWED_STEPS 16           /* that are made at once for that, at most */
#define WATCH_SLICE_REVISIONS 1000    /* that a watcher wants, in one message of history */
#define WATCH_SLICE_BYTES (8UL * MIB) /* gathered of history; then it is sent, short or not */
/* a message above this is for streams that read: to all others together no more is sent at once,
 * they get messages as small as this */
#define WATCH_SLICE_LEAST_BYTES (64UL * KIB)
#define WATCH_UNREAD_BYTES                                                                         \
    (12UL * MIB)                    /* less than HTTP2_UNREAD_MAX_BYTES: calls go on beside it */
#define WATCH_SWEEP_REVISIONS 10000 /* passed; then those get their turn who came behind it */

/* ---- log ---- */

#define WAL_SEGMENT_BYTES 64000000UL      /* a segment is cut when it has reached this */
#define WAL_RECORD_MAX_BYTES (64UL * MIB) /* a length above this is damage, not data */
/* data of one entry: --max-request-bytes is at most that */
#define WAL_ENTRY_MAX_BYTES (WAL_RECORD_MAX_BYTES - 4 * KIB)
#define WAL_REPLAY_MAX_BYTES (16UL * GIB) /* entries read back at start, in memory */
#define WAL_BATCH_MAX_BYTES (8UL * MIB)   /* one write and sync of the WAL writer */
#define SNAPSHOT_COUNT_DEFAULT 100000UL   /* entries, for --snapshot-count=0 */
#define SNAPFILE_MAX_BYTES (64UL * MIB)   /* a .snap file; holds members and removed ids only */
/* a snapshot of the raft state is taken after --snapshot-count entries, or so many bytes of them:
 * they are read back at the next start, in memory */
#define SNAPSHOT_LOG_BYTES (512UL * MIB)
#define SNAPSHOT_CATCHUP_ENTRIES 5000UL /* entries kept behind a snapshot for slow followers */
#define LOG_CUT_ENTRIES 10000UL         /* at most, in one turn */
#define LOG_KEPT_MS 30000UL /* and all that a member needs, for so long after it was heard ... */
/* ... or after it got a snapshot, with which it has to begin anew ... */
#define LOG_KEPT_SNAPSHOT_MS 300000UL
/* ... in no more memory than that; what is kept for anybody may be twice that, if it is large */
#define LOG_KEPT_MAX_BYTES (512UL * MIB)

/* ---- raft (raft.md 1) ---- */

#define RAFT_APPEND_MAX_BYTES (1UL * MIB) /* entries in one MsgApp, but at least one */
#define RAFT_INFLIGHT_MAX 512UL           /* MsgApp in flight per follower */
/* entries in flight per follower, at least one MsgApp */
#define RAFT_INFLIGHT_MAX_BYTES (32UL * MIB)
#define RAFT_UNCOMMITTED_MAX_BYTES (1UL * GIB) /* proposals not yet committed */
#define RAFT_WRITES_MAX 1024UL                 /* requests to the log writer under way */
#define RAFT_READS_MAX 4096UL                  /* read indexes asked for and not yet confirmed */
#define RAFT_READ_CONTEXT_MAX 32UL /* bytes that name a read index on the wire; etcd uses 8 */
#define RAFT_MEMBERS_MAX 64UL      /* voters and learners */
#define MEMBER_URLS_MAX 64         /* URLs of one kind of one member */
#define URL_MAX_BYTES 2048         /* of a listener, a member, a client URL */
#define PENDING_CALLS_MAX 200000UL /* calls that wait for the log or a read index */
#define HELD_PROPOSALS_MAX_BYTES (16UL * MIB) /* of other members, while no leader takes them */

/* ---- peers (raft.md 3 to 7) ---- */

#define PEER_ITEM_MAX_BYTES (512UL * MIB) /* one message of a stream, as etcd reads them */
/* entry lists of one message; payloads are borrowed */
#define PEER_MESSAGE_ARENA_MAX (64UL * MIB)
/* the message part of a snapshot; 3.6 takes as much */
#define PEER_SNAPSHOT_MESSAGE_MAX (64UL * MIB)
#define PEER_STREAM_QUEUE_BYTES (64UL * MIB) /* not yet sent on one stream; above, dropped */
#define PEER_PIPELINE_QUEUE_MAX 64UL         /* messages that wait for a POST, per peer */
#define PEER_PIPELINE_QUEUE_BYTES (64UL * MIB)
#define PEER_PIPELINE_MAX 4UL             /* POSTs under way, per peer */
#define PEER_REMOTES_MAX 64UL             /* members known from a header only */
#define BOOT_ANSWER_MAX_BYTES (1UL * MIB) /* of a member that is joined, of a registry */
#define PEER_ANSWER_MAX_BYTES (4UL * MIB) /* body of an ordinary answer */
/* requests of peers_request() under way: a descriptor each, of FDS_KEPT */
#define PEER_CALLS_MAX 64UL
#define PEER_CALLS_WAITING_MAX 50000UL   /* for their turn; more are refused */
#define PEER_CALL_KEPT_MS 10000UL        /* a connection of theirs that is idle */
#define PEER_ADDRESSES_MAX 8UL           /* of one host name that are tried */
#define PEER_DIAL_TIMEOUT_MS 1000UL      /* connect and TLS; the election timeout comes on top */
#define PEER_REDIAL_MS 100UL             /* between two tries of a stream */
#define PEER_READ_TIMEOUT_MS 5000UL      /* a stream without a byte is closed; at least */
#define PEER_WRITE_TIMEOUT_MS 5000UL     /* one that takes nothing is closed; at least */
#define PEER_HEARTBEAT_MS 1666UL         /* link heartbeat on each stream: 5/3 s */
#define PEER_PROBE_MS 4000UL             /* GET /raft/probing */
#define PEER_REQUEST_TIMEOUT_MS 10000UL  /* an ordinary request */
#define MEMBER_ASK_TIMEOUT_MS 2000UL     /* one question to a member; it may be asked again */
#define PEER_SNAPSHOT_STALL_MS 30000UL   /* no byte of a snapshot taken ... */
#define PEER_SNAPSHOT_ANSWER_MS 300000UL /* ... or no answer after the last: first it is synced */
#define PEER_SNAPSHOT_SYNC_BYTES (16UL * MIB) /* of one that comes in, synced at a time */

/* ---- snapshots and bbolt files ---- */

/* sent to clients at once: each holds two threads, a MiB of what is sent, a read transaction */
#define SNAPSHOT_STREAMS_MAX 16
#define SNAPSHOT_CHUNK_BYTES (32UL * KIB)      /* blob of one SnapshotResponse */
#define SNAPSHOT_RAW_CHUNK_BYTES (256UL * KIB) /* the same for who asks for the bytes alone */
#define BOLT_DEPTH_MAX 16UL                    /* levels of a bbolt tree that is read */
#define BOLT_KEY_MAX 32768UL                   /* bytes of a bbolt key */

/* ---- client ---- */

#define ENDPOINTS_MAX 100U              /* endpoints of one client */
#define SOCKET_PATH_MAX 107U            /* sun_path without its NUL */
#define CLIENT_RESPONSE_MAX (2UL * GIB) /* bytes of one JSON answer, and of its decoded message */
#define CLIENT_LINE_MAX (64UL * MIB)    /* one message of a stream as JSON */
#define CLIENT_FILE_MAX (1UL * MIB)     /* a certificate, key or CA file */
#define STDIN_VALUE_MAX (512UL * MIB)   /* a value from standard input; servers take far less */

#define MIRROR_TXN_OPS_MAX 10000U /* --max-txn-ops of make-mirror */

/* ---- logging ---- */

#define LOG_LINE_MAX 8192UL /* bytes of one line: it is made on the stack */
#define LOG_TEXT_MAX 2000UL /* bytes of one text in it; six times that when all is escaped */
#define REQUEST_TEXT_MAX_BYTES LOG_TEXT_MAX /* of a slow request in the log */
#define SLOW_LINES_MAX 100UL /* of one kind within a second; behind those one of as many */
#define LOG_OUTPUTS_MAX 16UL /* --log-outputs */

/* ---- settings ---- */

#define OPTION_LIST_MAX 1000UL               /* items of one list */
#define OPTIONS_NOTES_MAX_BYTES (64UL * KIB) /* what is said about odd settings */
#define CONFIG_FILE_MAX_BYTES (1UL * MIB)
#define CONFIG_DEPTH_MAX 16UL /* nesting of a config file */

#endif
