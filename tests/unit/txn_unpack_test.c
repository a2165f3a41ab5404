/*
 * txn_unpack_test.c - requests from bytes: what nests deep is what protobuf-c would make of it, and
 * bytes that are no request are told from it.
 */
#include "common/schema/txn_unpack.h"

#include "common/base/limits.h"
#include "common/schema/pbgroup.h"
#include "common/schema/pbwire.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define DEPTH (TXN_DEPTH_MAX + 30) /* protobuf-c can do it, but is not asked */
#define OPS_MAX 4U

static struct arena arena;
static uint64_t seed;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 64 * MIB);
    seed = 1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

static unsigned below(unsigned limit)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(seed >> 33) % limit;
}

static void *make(const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = arena_alloc(&arena, type->sizeof_message);

    assert_non_null(message);
    type->message_init(message);
    return message;
}

static ProtobufCBinaryData text(const char *word)
{
    return (ProtobufCBinaryData){strlen(word), (uint8_t *)(uintptr_t)word};
}

static Etcdserverpb__TxnRequest *make_txn(unsigned depth);

static Etcdserverpb__RequestOp *make_op(unsigned depth)
{
    Etcdserverpb__RequestOp *op = make(&etcdserverpb__request_op__descriptor);

    if (depth != 0) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
        op->request_txn = make_txn(depth);
    } else if (below(4) == 0) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        op->request_range = make(&etcdserverpb__range_request__descriptor);
        op->request_range->limit = below(300);
    } else if (below(4) != 0) {
        op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op->request_put = make(&etcdserverpb__put_request__descriptor);
        op->request_put->key = text("key");
        op->request_put->value = text(below(2) != 0 ? "" : "value");
    } /* else it is empty */
    return op;
}

/* One operation of either branch goes down to the end. */
static size_t make_ops(Etcdserverpb__RequestOp ***ops, unsigned depth, bool deep)
{
    size_t count = below(OPS_MAX) + deep, at = below((unsigned)count + !count);

    *ops = arena_alloc(&arena, (count + 1) * sizeof(**ops));
    assert_non_null(*ops);
    for (size_t i = 0; i < count; i++)
        (*ops)[i] = make_op(deep && i == at ? depth - 1 : depth > 1 && below(5) == 0 ? 1 : 0);
    return count;
}

static Etcdserverpb__TxnRequest *make_txn(unsigned depth)
{
    Etcdserverpb__TxnRequest *txn = make(&etcdserverpb__txn_request__descriptor);
    bool success = below(2) != 0;

    txn->n_compare = below(3);
    txn->compare = arena_alloc(&arena, 3 * sizeof(*txn->compare));
    assert_non_null(txn->compare);
    for (size_t i = 0; i < txn->n_compare; i++) {
        txn->compare[i] = make(&etcdserverpb__compare__descriptor);
        txn->compare[i]->key = text("compared");
        txn->compare[i]->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        txn->compare[i]->version = below(1000);
    }
    txn->n_success = make_ops(&txn->success, depth, success && depth > 1);
    txn->n_failure = make_ops(&txn->failure, depth, !success && depth > 1);
    return txn;
}

static struct slice make_request(unsigned depth)
{
    Etcdserverpb__InternalRaftRequest request = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    Etcdserverpb__RequestHeader header = ETCDSERVERPB__REQUEST_HEADER__INIT;
    uint8_t *bytes;
    size_t size;

    header.id = 7;
    header.username = (char *)(uintptr_t) "somebody";
    request.header = &header;
    request.id = 9;
    request.txn = make_txn(depth);
    size = etcdserverpb__internal_raft_request__get_packed_size(&request);
    bytes = arena_alloc(&arena, size);
    assert_non_null(bytes);
    assert_int_equal(etcdserverpb__internal_raft_request__pack(&request, bytes), size);
    return slice_of(bytes, size);
}

/* Packed again it is the same, whichever way it was unpacked. */
static void test_deep_is_as_shallow(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct slice bytes = make_request(i % 2 == 0 ? DEPTH : 5);
        Etcdserverpb__InternalRaftRequest *request = raft_request_unpack(bytes, &arena);
        uint8_t *again = arena_alloc(&arena, bytes.size);

        assert_true(pb_depth_within(&etcdserverpb__internal_raft_request__descriptor, bytes,
                                    MESSAGE_DEPTH_MAX + 1) == (i % 2 != 0));
        assert_non_null(request);
        assert_non_null(again);
        assert_int_equal(etcdserverpb__internal_raft_request__get_packed_size(request), bytes.size);
        assert_int_equal(etcdserverpb__internal_raft_request__pack(request, again), bytes.size);
        assert_memory_equal(again, bytes.data, bytes.size);
        arena_reset(&arena);
    }
}

/* `content` as field `number`, `extra` before or after it. */
static struct slice wrap(unsigned number, struct slice content, struct slice extra, bool before)
{
    size_t size = pb_bytes_field_bytes(content.size) + extra.size;
    uint8_t *bytes = arena_alloc(&arena, size), *at = bytes;

    assert_non_null(bytes);
    if (before && extra.size != 0)
        at = (uint8_t *)memcpy(at, extra.data, extra.size) + extra.size;
    at = pb_put_bytes(at, number, content);
    if (!before && extra.size != 0)
        memcpy(at, extra.data, extra.size);
    return slice_of(bytes, size);
}

enum place { IN_REQUEST, IN_TXN, IN_OP, PLACES };

/* A txn in a txn ..., `extra` in one message of the outermost level or of the one `from_inside`. */
static struct slice nest(unsigned depth, struct slice extra, enum place place, unsigned from_inside,
                         bool before)
{
    struct slice txn = SLICE_EMPTY;

    for (unsigned i = 1; i < depth; i++) {
        struct slice here = i == from_inside ? extra : SLICE_EMPTY;

        txn = wrap(4, txn, place == IN_OP ? here : SLICE_EMPTY, before);
        txn = wrap(2 + i % 2, txn, place == IN_TXN ? here : SLICE_EMPTY, before);
    }
    return wrap(6, txn, place == IN_REQUEST ? extra : SLICE_EMPTY, before);
}

/* What protobuf-c takes of a field is what is taken, wherever it is and however deep. */
static void same_as_protobuf_c(struct slice extra)
{
    static const unsigned depths[] = {5, DEPTH};

    for (unsigned i = 0; i < 2 * ARRAY_LEN(depths) * PLACES * 2; i++) {
        unsigned depth = depths[i % 2];
        struct slice bytes = nest(depth, extra, i / 2 % PLACES,
                                  i / 2 / PLACES % 2 != 0 ? 1 : depth - 1, i / 4 / PLACES % 2 != 0);
        bool taken = raft_request_unpack(bytes, &arena) != NULL;
        bool known = protobuf_c_message_unpack(&etcdserverpb__internal_raft_request__descriptor,
                                               &arena.allocator, bytes.size, bytes.data) != NULL;

        if (taken != known)
            fail_msg("case %u, depth %u: taken %d, by protobuf-c %d", i, depth, taken, known);
        arena_reset(&arena);
    }
}

/* A field of a later etcd, in all wire types: 3, 4, 6 and 7 are refused, so are those cut short. */
static void test_unknown_fields(void **state)
{
    static const uint32_t numbers[] = {5, 99, 4000, (1U << 29) - 1};
    static const uint8_t zeros[8] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        for (unsigned wire = 0; wire < 8; wire++)
            for (size_t content = 0; content <= sizeof(zeros); content++) {
                uint8_t bytes[PB_VARINT_MAX + sizeof(zeros)], *end;

                end = pb_put_varint(bytes, (uint64_t)numbers[i] << 3 | wire);
                memcpy(end, zeros, content);
                if (wire == PB_BYTES && content != 0)
                    *end = (uint8_t)(content - 1);
                same_as_protobuf_c(slice_of(bytes, (size_t)(end - bytes) + content));
            }
}

/* Odd numbers, tags and lengths, of which protobuf-c takes some. */
static const struct slice odd_fields[] = {
    SLICE_LITERAL("\x98\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), /* over 64 bits */
    SLICE_LITERAL("\x98\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
    SLICE_LITERAL("\x98\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* 11 bytes */
    SLICE_LITERAL("\x98\xff\xff\xff\x7f\x01"),                             /* a tag of 35 bits */
    SLICE_LITERAL("\x98\x86\x80\x80\x80\x00\x01"),                         /* ... of 6 bytes */
    SLICE_LITERAL("\x80\x00\x01"), /* field 0, in two bytes */
    SLICE_LITERAL("\x82\x00\x01\x01"),
    SLICE_LITERAL("\x00\x01"),
    SLICE_LITERAL("\xa2\x80\x00\x00"),                 /* field 4, in three */
    SLICE_LITERAL("\x9a\x06\x80\x80\x80\x80\x00"),     /* a length of 5 bytes */
    SLICE_LITERAL("\x9a\x06\x80\x80\x80\x80\x80\x00"), /* ... of 6 */
    SLICE_LITERAL("\x9a\x06\xff\xff\xff\xff\x7f"),     /* ... past the end */
};

static void test_odd_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(odd_fields); i++)
        same_as_protobuf_c(odd_fields[i]);
}

/* What protobuf-c would walk over does not hide from the doors how deep the rest nests. */
static void test_depth_is_not_hidden(void **state)
{
    const ProtobufCMessageDescriptor *type = &etcdserverpb__internal_raft_request__descriptor;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(odd_fields); i++) {
        struct slice bytes = nest(DEPTH, odd_fields[i], IN_OP, DEPTH - 1, true);

        if (protobuf_c_message_unpack(type, &arena.allocator, bytes.size, bytes.data) != NULL)
            assert_false(pb_depth_within(type, bytes, MESSAGE_DEPTH_MAX));
        arena_reset(&arena);
    }
}

/* A second request beside the txn, sound or not, and fields of the wrong wire type. */
static void test_known_fields(void **state)
{
    static const char *const fields[] = {"\x0a\x00", "\x0a\x02\x0a\x00", "\x0a\x01\x0a",
                                         "\x12\x00", "\x22\x00",         "\x22\x01\x0a",
                                         "\x08\x01", "\x20\x01",         "\x25\x01\x01\x01\x01"};
    static const size_t sizes[] = {2, 4, 3, 2, 2, 3, 2, 2, 5};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        same_as_protobuf_c(slice_of((const uint8_t *)fields[i], sizes[i]));
}

/* What protobuf-c takes, once groups are covered, is taken, nothing else, and whatever is taken can
 * be packed. */
static void test_broken_bytes(void **state)
{
    struct slice bytes = make_request(DEPTH);
    uint8_t *broken = xalloc(bytes.size);
    struct arena other;

    (void)state;
    arena_init(&other, 64 * MIB);
    for (unsigned i = 0; i < 3000; i++) {
        Etcdserverpb__InternalRaftRequest *request, *known;
        size_t size = bytes.size - (i % 3 == 0 ? below((unsigned)bytes.size) : 0);

        memcpy(broken, bytes.data, bytes.size);
        for (unsigned j = below(3); j > 0; j--)
            broken[below((unsigned)size)] = (uint8_t)below(256);
        request = raft_request_unpack(slice_of(broken, size), &other);
        (void)pb_cover_groups(&etcdserverpb__internal_raft_request__descriptor, broken, size);
        known = etcdserverpb__internal_raft_request__unpack(&other.allocator, size, broken);
        assert_int_equal(request != NULL, known != NULL);
        if (request != NULL) /* it lacks only fields that nobody knows */
            assert_in_range(etcdserverpb__internal_raft_request__get_packed_size(request), 0, size);
        arena_reset(&other);
    }
    arena_free(&other);
    free(broken);
}

/* ---- what only etcd's decoder takes ---- */

/* The same request, however it was written. */
static void assert_request(struct slice bytes, const Etcdserverpb__InternalRaftRequest *expected)
{
    Etcdserverpb__InternalRaftRequest *request = raft_request_unpack(bytes, &arena);
    size_t size = etcdserverpb__internal_raft_request__get_packed_size(expected);
    uint8_t *packed = arena_alloc(&arena, size), *again = arena_alloc(&arena, size);

    assert_non_null(request);
    assert_int_equal(etcdserverpb__internal_raft_request__get_packed_size(request), size);
    assert_int_equal(etcdserverpb__internal_raft_request__pack(expected, packed), size);
    assert_int_equal(etcdserverpb__internal_raft_request__pack(request, again), size);
    assert_memory_equal(again, packed, size);
}

static struct slice pack_txn(const Etcdserverpb__TxnRequest *txn)
{
    size_t size = etcdserverpb__txn_request__get_packed_size(txn);
    uint8_t *bytes = arena_alloc(&arena, size);

    assert_non_null(bytes);
    assert_int_equal(etcdserverpb__txn_request__pack(txn, bytes), size);
    return slice_of(bytes, size);
}

/* Each txn goes on with the one before, however deep they nest and whatever is between them. */
static void test_txns_are_merged(void **state)
{
    static const struct slice id = SLICE_LITERAL("\x08\x09");

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        Etcdserverpb__InternalRaftRequest whole = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
        Etcdserverpb__TxnRequest first, second;
        struct slice bytes;

        whole.txn = make_txn(i % 2 == 0 ? DEPTH : 3);
        whole.id = 9;
        first = second = *whole.txn;
        first.n_compare = below((unsigned)first.n_compare + 1);
        first.n_success = below((unsigned)first.n_success + 1);
        first.n_failure = below((unsigned)first.n_failure + 1);
        second.compare += first.n_compare;
        second.n_compare -= first.n_compare;
        second.success += first.n_success;
        second.n_success -= first.n_success;
        second.failure += first.n_failure;
        second.n_failure -= first.n_failure;
        bytes = wrap(6, pack_txn(&second), wrap(6, pack_txn(&first), id, false), true);
        assert_request(bytes, &whole);
        arena_reset(&arena);
    }
}

/* So many that merging two and two would take the square of it. */
static void test_many_txns_are_merged(void **state)
{
    static const uint8_t compare[] = {0x32, 0x02, 0x0a, 0x00}; /* a txn with an empty compare */
    Etcdserverpb__InternalRaftRequest *request;
    size_t count = 50000;
    uint8_t *bytes = xalloc(count * sizeof(compare));
    struct arena other;

    (void)state;
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * sizeof(compare), compare, sizeof(compare));
    arena_init(&other, raft_request_unpack_max(count * sizeof(compare)));
    request = raft_request_unpack(slice_of(bytes, count * sizeof(compare)), &other);
    assert_non_null(request);
    assert_int_equal(request->txn->n_compare, count);
    arena_free(&other);
    free(bytes);
}

/* In place of a field that nobody knows, wherever it is, in groups too. */
static void test_groups_are_skipped(void **state)
{
    static const struct slice groups[] = {
        SLICE_LITERAL("\x9b\x06\x9c\x06"),                              /* 99, empty */
        SLICE_LITERAL("\x73\x74"),                                      /* 14, empty */
        SLICE_LITERAL("\x73\x08\x01\x12\x01x\x1d....\x21........\x74"), /* of every type */
        SLICE_LITERAL("\x73\x73\x33\x34\x74\x08\x80\x01\x74"),          /* groups in it */
        SLICE_LITERAL("\x73\x74\x9b\x06\x9c\x06\x98\x06\x01"),          /* several */
        SLICE_LITERAL("\x73\x3c"), /* its end has another number: etcd does not look */
    };
    static const unsigned depths[] = {5, DEPTH};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(groups) * 2 * PLACES * 2 * 2; i++) {
        unsigned depth = depths[i % 2], at = i / 2 % ARRAY_LEN(groups),
                 rest = i / 2 / ARRAY_LEN(groups);
        struct slice bytes = nest(depth, groups[at], rest % PLACES,
                                  rest / PLACES % 2 != 0 ? 1 : depth - 1, rest / PLACES / 2 != 0);
        struct slice known = nest(depth, SLICE_EMPTY, IN_REQUEST, 1, false);
        Etcdserverpb__InternalRaftRequest *request = raft_request_unpack(known, &arena);
        Etcdserverpb__InternalRaftRequest *other = raft_request_unpack(bytes, &arena);
        Etcdserverpb__TxnRequest *txn, *other_txn;

        assert_non_null(request);
        if (other == NULL)
            fail_msg("case %u: group %u, depth %u", i, at, depth);
        txn = request->txn;
        other_txn = other->txn;
        for (unsigned level = 1; level < depth; level++) {
            assert_int_equal(txn->n_success, other_txn->n_success);
            assert_int_equal(txn->n_failure, other_txn->n_failure);
            txn = (txn->n_success != 0 ? txn->success : txn->failure)[0]->request_txn;
            other_txn = (other_txn->n_success != 0 ? other_txn->success : other_txn->failure)[0]
                            ->request_txn;
        }
        arena_reset(&arena);
    }
}

/* Of every size: the length that covers it takes one byte more now and then. */
static void test_groups_of_every_size(void **state)
{
    uint8_t bytes[40000];

    (void)state;
    for (size_t content = 0; content < 33000; content += content < 300 ? 1 : 37) {
        Etcdserverpb__InternalRaftRequest *request;
        uint8_t *at = bytes;

        *at++ = 0x13;                      /* field 2 begins */
        memset(at, 0x08, content / 2 * 2); /* numbers */
        at += content / 2 * 2;
        if (content % 2 != 0) {
            memcpy(at, "\x08\x88\x01", 3);
            at += 3;
        }
        *at++ = 0x14;
        memcpy(at, "\x08\x07", 2);
        request = raft_request_unpack(slice_of(bytes, (size_t)(at + 2 - bytes)), &arena);
        assert_non_null(request);
        assert_int_equal(request->id, 7);
        arena_reset(&arena);
    }
}

static void test_bad_groups_are_refused(void **state)
{
    static const struct slice bad[] = {
        SLICE_LITERAL("\x2b"),             /* no end */
        SLICE_LITERAL("\x2c"),             /* no begin */
        SLICE_LITERAL("\x2b\x2b\x2c"),     /* one is missing */
        SLICE_LITERAL("\x2b\x08\x2c"),     /* cut short */
        SLICE_LITERAL("\x2b\x0f\x2c"),     /* a wire type that is none */
        SLICE_LITERAL("\x2b\x12\x05\x2c"), /* past the end */
        SLICE_LITERAL("\x2b\x2c\x2c"),     /* an end too many */
        SLICE_LITERAL("\x33\x34"),         /* field 6 of the request is known */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(raft_request_unpack(nest(5, bad[i], IN_REQUEST, 1, true), &arena));
        assert_null(raft_request_unpack(nest(DEPTH, bad[i], IN_REQUEST, 1, false), &arena));
        arena_reset(&arena);
    }
}

/* ---- memory ---- */

/* `part` again and again, inside messages of these numbers: it fits into what is allowed for it. */
static void fits(struct slice part, const unsigned *numbers, size_t number_count)
{
    size_t count = 200000 / part.size;
    uint8_t *bytes = xalloc(count * part.size);
    struct slice whole = slice_of(bytes, count * part.size);
    struct arena large, allowed;

    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * part.size, part.data, part.size);
    arena_init(&large, 8 * MIB);
    for (size_t i = 0; i < number_count; i++) {
        uint8_t *room = arena_alloc(&large, whole.size + 8);

        assert_non_null(room);
        whole = slice_of(room, (size_t)(pb_put_bytes(room, numbers[i], whole) - room));
    }
    arena_init(&allowed, raft_request_unpack_max(whole.size));
    assert_non_null(raft_request_unpack(whole, &allowed));
    assert_in_range(allowed.used, 0, allowed.max);
    arena_free(&allowed);
    arena_free(&large);
    free(bytes);
}

static void test_memory_is_bounded_by_size(void **state)
{
    static const unsigned txn[] = {6}, inner[] = {4, 2, 6}, op[] = {2, 6}, put[] = {4},
                          checkpoints[] = {11};

    (void)state;
    fits(SLICE_LITERAL("\x0a\x00"), txn, 1);         /* compares */
    fits(SLICE_LITERAL("\x12\x00"), txn, 1);         /* operations */
    fits(SLICE_LITERAL("\x12\x02\x0a\x00"), txn, 1); /* ... that are ranges */
    fits(SLICE_LITERAL("\x12\x02\x22\x00"), txn, 1); /* ... that are txns */
    fits(SLICE_LITERAL("\x12\x02\x22\x00"), inner, 3);
    fits(SLICE_LITERAL("\x0a\x00"), inner, 3);
    fits(SLICE_LITERAL("\x0a\x00"), op, 2); /* one operation, of which the last one holds */
    fits(SLICE_LITERAL("\x22\x00"), op, 2);
    fits(SLICE_LITERAL("\x78\x01"), put, 1); /* fields that nobody knows */
    fits(SLICE_LITERAL("\x78\x01"), txn, 1);
    fits(SLICE_LITERAL("\x7b\x7c"), txn, 1); /* groups */
    fits(SLICE_LITERAL("\x0a\x00"), put, 1); /* keys */
    fits(SLICE_LITERAL("\x0a\x00"), checkpoints, 1);
    fits(SLICE_LITERAL("\x32\x00"), NULL, 0);
}

/* In a txn, its operations, the txn within and what that does: of these it is lists and oneofs. */
static void test_unknown_fields_are_dropped(void **state)
{
    uint8_t one = 1, key = 'k', clean[256], dirty[256];
    ProtobufCMessageUnknownField unknown = {100, PROTOBUF_C_WIRE_TYPE_VARINT, 1, &one};
    Etcdserverpb__TxnRequest outer = ETCDSERVERPB__TXN_REQUEST__INIT, *taken;
    Etcdserverpb__TxnRequest inner = ETCDSERVERPB__TXN_REQUEST__INIT;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__RequestOp nested = ETCDSERVERPB__REQUEST_OP__INIT, *outer_ops[] = {&nested};
    Etcdserverpb__RequestOp puts = ETCDSERVERPB__REQUEST_OP__INIT, *inner_ops[] = {&puts, &puts};
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    ProtobufCMessage *all[] = {&outer.base,  &inner.base, &compare.base,
                               &nested.base, &puts.base,  &put.base};
    size_t clean_bytes, dirty_bytes;

    (void)state;
    put.key = (ProtobufCBinaryData){1, &key};
    puts.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    puts.request_put = &put;
    inner.failure = inner_ops;
    inner.n_failure = ARRAY_LEN(inner_ops);
    nested.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    nested.request_txn = &inner;
    compare.key = put.key;
    outer.compare = compares;
    outer.n_compare = 1;
    outer.success = outer_ops;
    outer.n_success = 1;
    clean_bytes = etcdserverpb__txn_request__pack(&outer, clean);
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        all[i]->n_unknown_fields = 1;
        all[i]->unknown_fields = &unknown;
    }
    dirty_bytes = etcdserverpb__txn_request__pack(&outer, dirty);
    assert_true(dirty_bytes > clean_bytes + 7 * 3);
    taken = etcdserverpb__txn_request__unpack(&arena.allocator, dirty_bytes, dirty);
    assert_non_null(taken);
    pb_drop_unknown(&taken->base);
    assert_int_equal(etcdserverpb__txn_request__pack(taken, dirty), clean_bytes);
    assert_memory_equal(dirty, clean, clean_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_deep_is_as_shallow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_fields_are_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_odd_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_depth_is_not_hidden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_known_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broken_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_txns_are_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_txns_are_merged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_groups_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_groups_of_every_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_groups_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_is_bounded_by_size, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
