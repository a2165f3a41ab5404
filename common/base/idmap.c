/* idmap.c - see idmap.h. Linear probing; removal closes the gap, so no tombstones pile up. */
#include "common/base/idmap.h"

#define IDMAP_FIRST 64

static size_t home(const struct idmap *map, uint64_t id)
{
    return (size_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (map->capacity - 1);
}

static size_t find(const struct idmap *map, uint64_t id)
{
    size_t at = home(map, id);

    while (map->slots[at].id != 0 && map->slots[at].id != id)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

static void grow(struct idmap *map)
{
    struct idmap old = *map;

    map->capacity = MAX(old.capacity * 2, IDMAP_FIRST);
    map->slots = xalloc(map->capacity * sizeof(*map->slots));
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].id != 0)
            map->slots[find(map, old.slots[i].id)] = old.slots[i];
    free(old.slots);
}

void idmap_free(struct idmap *map)
{
    free(map->slots);
    *map = (struct idmap){0};
}

bool idmap_put(struct idmap *map, uint64_t id, void *value)
{
    size_t at;

    must(id != 0);
    if (map->count * 2 >= map->capacity)
        grow(map);
    at = find(map, id);
    if (map->slots[at].id != 0)
        return false;
    map->slots[at] = (struct idmap_slot){id, value};
    map->count++;
    return true;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
    return map->count == 0 || id == 0 ? NULL : map->slots[find(map, id)].value;
}

void *idmap_remove(struct idmap *map, uint64_t id)
{
    size_t gap, mask = map->capacity - 1;
    void *value;

    if (map->count == 0 || id == 0)
        return NULL;
    gap = find(map, id);
    if (map->slots[gap].id == 0)
        return NULL;
    value = map->slots[gap].value;
    for (size_t at = (gap + 1) & mask; map->slots[at].id != 0; at = (at + 1) & mask) {
        size_t distance = (at - home(map, map->slots[at].id)) & mask;

        /* may move back to the gap without passing its home */
        if (distance >= ((at - gap) & mask)) {
            map->slots[gap] = map->slots[at];
            gap = at;
        }
    }
    map->slots[gap] = (struct idmap_slot){0, NULL};
    map->count--;
    return value;
}
