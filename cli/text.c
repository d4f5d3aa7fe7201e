#include "cli/text.h"

#include "base/mem.h"

#include <stdbool.h>
#include <string.h>

struct range {
    uint32_t first, last;
};

/* Unicode's East Asian Width W and F, in blocks. */
static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec}, {0x25fd, 0x25fe}, {0x2614, 0x2615},
    {0x2648, 0x2653},   {0x26a1, 0x26a1},   {0x2705, 0x2705},   {0x270a, 0x270b}, {0x2728, 0x2728}, {0x274c, 0x274c},
    {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff}, {0xa000, 0xa4cf}, {0xa960, 0xa97f},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff01, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
    {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd},
};

/* Marks that stand on the letter before them, and what is not seen at all. */
static const struct range narrowest[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x1160, 0x11ff}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x20d0, 0x20ff},
    {0x302a, 0x302f}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff},
};

static bool within(const struct range *ranges, size_t n, uint32_t c)
{
    for (size_t i = 0; i < n && c >= ranges[i].first; i++)
        if (c <= ranges[i].last)
            return true;
    return false;
}

uint32_t tl_cli_text_next(const char **text)
{
    const uint8_t *s = (const uint8_t *)*text;
    uint8_t c = s[0];
    if (!c)
        return 0;
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 1;
    if (n == 1) {
        *text += 1;
        return c < 0x80 ? c : 0xfffd;
    }
    if (strnlen(*text, n) < n || !tl_utf8_valid(*text, n)) {
        *text += 1;
        return 0xfffd;
    }
    uint32_t v = c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        v = v << 6 | (s[i] & 0x3f);
    *text += n;
    return v;
}

int tl_cli_text_cells(uint32_t c)
{
    if (within(narrowest, TL_ARRAY_LEN(narrowest), c))
        return 0;
    return within(wide, TL_ARRAY_LEN(wide), c) ? 2 : 1;
}

int tl_cli_text_width(const char *text)
{
    int cells = 0;
    for (uint32_t c; (c = tl_cli_text_next(&text));)
        cells += tl_cli_text_cells(c);
    return cells;
}

static bool steers(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
           c == 0x2028 || c == 0x2029;
}

static void add(struct tl_str *out, uint32_t c, const char *from, const char *to)
{
    if (steers(c))
        tl_str_puts(out, "?");
    else if (c == 0xfffd)
        tl_str_puts(out, "\xef\xbf\xbd");
    else
        tl_str_add(out, from, (size_t)(to - from));
}

void tl_cli_text_clean(struct tl_str *out, const char *text)
{
    const char *from = text;
    for (uint32_t c; (c = tl_cli_text_next(&text)); from = text)
        add(out, c, from, text);
}

void tl_cli_text_pad(struct tl_str *out, const char *text, int cells)
{
    int room = tl_cli_text_width(text) > cells ? cells - 1 : cells;
    bool cut = room < cells;
    int used = 0;
    const char *from = text;
    for (uint32_t c; (c = tl_cli_text_next(&text)); from = text) {
        int w = tl_cli_text_cells(c);
        if (used + w > room)
            break;
        add(out, c, from, text);
        used += w;
    }
    if (cut && cells > 0) {
        tl_str_puts(out, "…");
        used++;
    }
    for (; used < cells; used++)
        tl_str_puts(out, " ");
}
