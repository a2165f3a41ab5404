/* arena.c - see arena.h. Blocks double in size up to ARENA_BLOCK_MAX; big requests get
 * their own. */
#include "common/base/arena.h"
#include "common/base/limits.h"

#define ARENA_BLOCK_FIRST 1024
#define ARENA_BLOCK_MAX (256 * KIB)
#define ARENA_ALIGN 16

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    size_t used;
    size_t pad;
    uint8_t bytes[];
};

static void *pb_alloc(void *arena, size_t bytes)
{
    return arena_alloc(arena, bytes);
}

static void pb_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory; /* dies with the arena */
}

void arena_init(struct arena *arena, size_t max_bytes)
{
    *arena = (struct arena){.max = max_bytes};
    arena->allocator =
        (ProtobufCAllocator){.alloc = pb_alloc, .free = pb_free, .allocator_data = arena};
}

void arena_free(struct arena *arena)
{
    struct arena_block *next;

    for (struct arena_block *block = arena->blocks; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    arena->blocks = NULL;
    arena->used = 0;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;

    if (keep == NULL)
        return;
    arena->blocks = keep->next;
    arena_free(arena);
    keep->next = NULL;
    keep->used = 0;
    arena->blocks = keep;
    arena->used = keep->capacity;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    struct arena_block *block = arena->blocks;
    size_t wanted, capacity;
    void *memory;

    if (bytes > arena->max)
        return NULL;
    wanted = (MAX(bytes, 1) + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (block == NULL || block->capacity - block->used < wanted) {
        capacity = block == NULL ? ARENA_BLOCK_FIRST : MIN(block->capacity * 2, ARENA_BLOCK_MAX);
        capacity = MAX(capacity, wanted);
        if (capacity > arena->max - arena->used) {
            capacity = wanted;
            if (capacity > arena->max - arena->used)
                return NULL;
        }
        block = malloc(sizeof(*block) + capacity);
        if (block == NULL)
            return NULL;
        *block = (struct arena_block){.next = arena->blocks, .capacity = capacity};
        arena->blocks = block;
        arena->used += capacity;
    }
    memory = block->bytes + block->used;
    block->used += wanted;
    return memory;
}

void *arena_zalloc(struct arena *arena, size_t bytes)
{
    void *memory = arena_alloc(arena, bytes);

    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

void *arena_copy(struct arena *arena, const void *data, size_t bytes)
{
    void *memory = arena_alloc(arena, bytes);

    if (memory != NULL && bytes != 0)
        memcpy(memory, data, bytes);
    return memory;
}

char *arena_strndup(struct arena *arena, const void *text, size_t bytes)
{
    char *memory = arena_alloc(arena, bytes + 1);

    if (memory == NULL)
        return NULL;
    if (bytes != 0)
        memcpy(memory, text, bytes);
    memory[bytes] = '\0';
    return memory;
}
