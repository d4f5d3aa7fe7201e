#include "worker/media/font.h"

#include <cairo-ft.h>
#include <fcntl.h>
#include <ft2build.h>
#include FT_FREETYPE_H
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FALLBACKS = 2, TEXT_MAX = 512 };

/* By weight, then in order of preference. The face of a collection that has Korean forms is looked for by name. */
static const char *const paths[TL_FONT_WEIGHTS][8] = {
    {"/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", "/usr/share/fonts/truetype/nanum/NanumGothic.ttf",
     "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf", "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"},
    {"/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc", "/usr/share/fonts/truetype/nanum/NanumGothicBold.ttf",
     "/usr/share/fonts/truetype/noto/NotoSans-Bold.ttf", "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"},
};

struct face {
    FT_Face ft;
    cairo_font_face_t *cairo;
};

static struct {
    FT_Library library;
    struct face faces[TL_FONT_WEIGHTS][FALLBACKS]; /* the first has a glyph or the next is asked */
    int count[TL_FONT_WEIGHTS];
} fonts;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static FT_Face korean_face(const void *data, size_t len)
{
    FT_Face ft = NULL;
    for (FT_Long i = 0, n = 1; i < n && i < 16; i++) {
        if (FT_New_Memory_Face(fonts.library, data, (FT_Long)len, i, &ft) != 0)
            return NULL;
        n = ft->num_faces;
        if (n == 1 || (ft->family_name && __builtin_strcmp(ft->family_name, "Noto Sans CJK KR") == 0))
            return ft;
        FT_Done_Face(ft);
    }
    return FT_New_Memory_Face(fonts.library, data, (FT_Long)len, 0, &ft) == 0 ? ft : NULL;
}

static bool load(const char *path, struct face *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return false;
    /* Mapped for the life of the process: pages come in as glyphs are drawn. */
    void *data = fstat(fd, &st) == 0 && st.st_size > 0 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)
                                                       : MAP_FAILED;
    close(fd);
    if (data == MAP_FAILED)
        return false;
    ret->ft = korean_face(data, (size_t)st.st_size);
    ret->cairo = ret->ft ? cairo_ft_font_face_create_for_ft_face(ret->ft, FT_LOAD_NO_HINTING) : NULL;
    if (!ret->cairo)
        munmap(data, (size_t)st.st_size);
    return ret->cairo != NULL;
}

static void load_all(void)
{
    if (FT_Init_FreeType(&fonts.library) != 0)
        return;
    for (int w = 0; w < TL_FONT_WEIGHTS; w++)
        for (int i = 0; i < 4 && fonts.count[w] < FALLBACKS; i++)
            if (load(paths[w][i], &fonts.faces[w][fonts.count[w]]))
                fonts.count[w]++;
    if (!fonts.count[TL_FONT_BOLD]) {
        for (int i = 0; i < FALLBACKS; i++)
            fonts.faces[TL_FONT_BOLD][i] = fonts.faces[TL_FONT_REGULAR][i];
        fonts.count[TL_FONT_BOLD] = fonts.count[TL_FONT_REGULAR];
    }
}

void tl_wk_fonts_load(void)
{
    pthread_once(&once, load_all);
}

bool tl_wk_fonts_ready(void)
{
    return fonts.count[TL_FONT_REGULAR] > 0;
}

static uint32_t decode(const unsigned char **p)
{
    const unsigned char *s = *p;
    int n = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 1;
    uint32_t c = n == 1 ? *s : *s & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *p = s + i;
            return 0xfffd;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    *p = s + n;
    return c >= 0x20 ? c : ' ';
}

/* File names from some systems spell Hangul in its letters; they are one syllable to the eye (Unicode 3.12). */
static bool compose(uint32_t *last, uint32_t c)
{
    if (*last >= 0x1100 && *last <= 0x1112 && c >= 0x1161 && c <= 0x1175) {
        *last = 0xac00 + ((*last - 0x1100) * 21 + (c - 0x1161)) * 28;
        return true;
    }
    if (*last >= 0xac00 && *last <= 0xd7a3 && (*last - 0xac00) % 28 == 0 && c > 0x11a7 && c <= 0x11c2) {
        *last += c - 0x11a7;
        return true;
    }
    return false;
}

struct placed {
    cairo_glyph_t glyph;
    int face;
    double advance;
};

static void set_face(cairo_t *cr, const struct tl_wk_text *style, int face)
{
    cairo_set_font_face(cr, fonts.faces[style->weight][face].cairo);
    cairo_set_font_size(cr, style->size);
}

static struct placed place(cairo_t *cr, const struct tl_wk_text *style, uint32_t c)
{
    struct placed p = {0};
    FT_UInt index = 0;
    for (int i = 0; i < fonts.count[style->weight] && !index; i++) {
        index = FT_Get_Char_Index(fonts.faces[style->weight][i].ft, c);
        if (index)
            p.face = i;
    }
    set_face(cr, style, p.face);
    p.glyph.index = index;
    cairo_text_extents_t ext;
    cairo_glyph_extents(cr, &p.glyph, 1, &ext);
    p.advance = ext.x_advance + style->tracking * style->size;
    return p;
}

/* Lays the text out at 0, 0; returns its width. */
static double lay_out(cairo_t *cr, const struct tl_wk_text *style, const char *utf8, struct placed *out, int *ret_n)
{
    uint32_t text[TEXT_MAX];
    int n = 0;
    for (const unsigned char *p = (const unsigned char *)utf8; *p && n < TEXT_MAX - 1;) {
        uint32_t c = decode(&p);
        if (!n || !compose(&text[n - 1], c))
            text[n++] = c;
    }
    double x = 0;
    for (int i = 0; i < n; i++) {
        out[i] = place(cr, style, text[i]);
        out[i].glyph.x = x;
        x += out[i].advance;
    }
    if (style->width > 0 && x > style->width && n) {
        struct placed dots = place(cr, style, 0x2026);
        while (n > 0 && out[n - 1].glyph.x + dots.advance > style->width)
            n--;
        dots.glyph.x = n ? out[n - 1].glyph.x + out[n - 1].advance : 0;
        if (n && dots.glyph.x + dots.advance > style->width)
            dots.glyph.x = out[--n].glyph.x;
        out[n++] = dots;
        x = dots.glyph.x + dots.advance;
    }
    *ret_n = n;
    return x - (n ? style->tracking * style->size : 0);
}

double tl_wk_text_draw(cairo_t *cr, const struct tl_wk_text *style, double x, double y, const char *utf8)
{
    struct placed out[TEXT_MAX];
    int n;
    if (!tl_wk_fonts_ready() || !utf8)
        return 0;
    double width = lay_out(cr, style, utf8, out, &n);
    for (int i = 0; i < n; i++) {
        out[i].glyph.x += x;
        out[i].glyph.y = y;
        set_face(cr, style, out[i].face);
        cairo_show_glyphs(cr, &out[i].glyph, 1);
    }
    return width;
}

double tl_wk_text_width(cairo_t *cr, const struct tl_wk_text *style, const char *utf8)
{
    struct placed out[TEXT_MAX];
    int n;
    return tl_wk_fonts_ready() && utf8 ? lay_out(cr, style, utf8, out, &n) : 0;
}
