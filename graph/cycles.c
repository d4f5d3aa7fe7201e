/* The cycles of a graph that has some: one problem for each set of nodes that can all reach one another (Tarjan's strongly connected components, without recursion). Every
 * edge between wanted nodes counts, also one that has a problem of its own. */
#include "base/err.h"
#include "base/str.h"
#include "graph/maker.h"

#define NONE UINT32_MAX
enum { TEXT_MAX = 600 };

struct search {
    const struct tl_maker *m;
    uint32_t *place; /* per node: when it was found, from 1 */
    uint32_t *
        low; /* per node: the earliest that it reaches; once its set is known, the set's number from 1, and place is NONE */
    uint32_t *next; /* per node: the edge to follow next */
    uint32_t *path, npath;
    uint32_t *open, nopen; /* found, their sets not known yet */
    uint32_t found, sets;
};

static uint32_t producer(const struct tl_maker *m, uint32_t k)
{
    return m->doc->edges[m->edges_in[k]].source;
}

static void find(struct search *s, uint32_t i)
{
    s->place[i] = s->low[i] = ++s->found;
    s->next[i] = s->m->first_in[i];
    s->path[s->npath++] = s->open[s->nopen++] = i;
}

/* All that is open since i was found is one set. */
static void close_set(struct search *s, uint32_t i)
{
    uint32_t last;
    s->sets++;
    do {
        last = s->open[--s->nopen];
        s->low[last] = s->sets;
        s->place[last] = NONE;
    } while (last != i);
}

static void search_from(struct search *s, uint32_t start)
{
    find(s, start);
    while (s->npath > 0) {
        uint32_t i = s->path[s->npath - 1];
        if (s->next[i] < s->m->first_in[i + 1]) {
            uint32_t from = producer(s->m, s->next[i]++);
            if (!s->place[from])
                find(s, from);
            else if (s->place[from] != NONE && s->place[from] < s->low[i])
                s->low[i] = s->place[from];
            continue;
        }
        s->npath--;
        uint32_t low = s->low[i];
        if (low == s->place[i])
            close_set(s, i);
        if (s->npath > 0 && s->place[i] != NONE && low < s->low[s->path[s->npath - 1]])
            s->low[s->path[s->npath - 1]] = low;
    }
}

static uint32_t producer_in_set(const struct search *s, uint32_t i)
{
    for (uint32_t k = s->m->first_in[i]; k < s->m->first_in[i + 1]; k++)
        if (s->low[producer(s->m, k)] == s->low[i])
            return producer(s->m, k);
    return NONE;
}

/* Follows producers within the set until one comes up again: that is a cycle. size: of the set. path, and place, which is free by now, are used up. */
static void tell(struct search *s, uint32_t start, uint32_t size)
{
    uint32_t n = 0, at = start, *step = s->place;
    while (step[at] == NONE) {
        step[at] = n;
        s->path[n++] = at;
        at = producer_in_set(s, at);
    }
    uint32_t length = n - step[at], k = n - 1;
    struct tl_str text = {0};
    tl_str_printf(&text, "\"%s\"", s->m->nodes[at].id);
    for (; k > step[at] && text.len < TEXT_MAX; k--)
        tl_str_printf(&text, " → \"%s\"", s->m->nodes[s->path[k]].id);
    tl_str_printf(&text, "%s → \"%s\"", k > step[at] ? " → …" : "", s->m->nodes[at].id);
    if (size > length)
        tl_str_printf(&text, "; and %u more on cycles with them", size - length);
    if (text.err)
        s->m->diag->err = TL_ENOMEM;
    tl_diag_add(s->m->diag, s->m->nodes[at].id, NULL, "$.edges", "these nodes form a cycle: %s",
                text.data ? text.data : "");
    tl_str_clear(&text);
}

int tl_maker_cycles(struct tl_maker *m)
{
    uint32_t n = m->plan->nnodes, *room = tl_arena_alloc(&m->doc->arena, (size_t)n * 6 * sizeof(*room) + 1);
    if (!room)
        return TL_ENOMEM;
    struct search s = {.m = m,
                       .place = room,
                       .low = room + n,
                       .next = room + 2 * (size_t)n,
                       .path = room + 3 * (size_t)n,
                       .open = room + 4 * (size_t)n};
    uint32_t *sizes = room + 5 * (size_t)n;
    for (uint32_t i = 0; i < n; i++)
        if (m->wanted[i] && !s.place[i])
            search_from(&s, i);
    for (uint32_t i = 0; i < n; i++)
        if (m->wanted[i])
            sizes[s.low[i] - 1]++;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t size = m->wanted[i] ? sizes[s.low[i] - 1] : 0;
        if (size && (size > 1 || producer_in_set(&s, i) == i))
            tell(&s, i, size);
        if (size)
            sizes[s.low[i] - 1] = 0;
    }
    return 0;
}
