#include "worker/media/font.h"
#include "worker/media/sheet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double margin = 96, gap = 28, header = 208, strip = 52, caption = 58, curve_height = 190, foot = 84;

struct page {
    cairo_t *cr;
    const struct tl_wk_sheet *s;
    struct tl_lab paper, ink, soft, faint, accent;
    int columns;
    double width, height, picture_w, picture_h, grid_y, curve_y;
};

static void colour(cairo_t *cr, struct tl_lab c, double alpha)
{
    float rgb[3];
    tl_wk_lab_to_srgb(c, rgb);
    cairo_set_source_rgba(cr, (double)rgb[0], (double)rgb[1], (double)rgb[2], alpha);
}

int tl_wk_sheet_columns(size_t nshots, double aspect)
{
    if (aspect < 1)
        return nshots <= 5 ? 5 : nshots <= 12 ? 6 : 8;
    return nshots <= 4 ? 2 : nshots <= 9 ? 3 : nshots <= 16 ? 4 : 5;
}

double tl_wk_sheet_picture_width(int columns)
{
    return floor((TL_SHEET_WIDTH - 2 * margin - gap * (columns - 1)) / columns);
}

/* Paper, ink and accent follow the palette: its mean hue, barely, in the paper; its most colourful member in what shall be seen. */
static void choose_colours(struct page *p)
{
    double a = 0, b = 0;
    struct tl_lab most = {0.75f, 0, 0};
    for (size_t i = 0; i < p->s->ncolours; i++) {
        a += p->s->palette[i].a;
        b += p->s->palette[i].b;
        if (tl_wk_lab_chroma(p->s->palette[i]) > tl_wk_lab_chroma(most))
            most = p->s->palette[i];
    }
    double C = sqrt(a * a + b * b);
    float ua = C > 0.01 ? (float)(a / C) : 0, ub = C > 0.01 ? (float)(b / C) : 0;
    p->paper = (struct tl_lab){0.185f, 0.010f * ua, 0.010f * ub};
    p->ink = (struct tl_lab){0.955f, 0.006f * ua, 0.006f * ub};
    p->soft = (struct tl_lab){0.70f, 0.010f * ua, 0.010f * ub};
    p->faint = (struct tl_lab){0.36f, 0.010f * ua, 0.010f * ub};
    most.L = most.L < 0.68f ? 0.68f : most.L > 0.85f ? 0.85f : most.L;
    float chroma = tl_wk_lab_chroma(most);
    if (chroma > 0.17f) {
        most.a *= 0.17f / chroma;
        most.b *= 0.17f / chroma;
    }
    p->accent = most;
}

static void rounded(cairo_t *cr, double x, double y, double w, double h, double r)
{
    cairo_new_sub_path(cr);
    cairo_arc(cr, x + w - r, y + r, r, -M_PI / 2, 0);
    cairo_arc(cr, x + w - r, y + h - r, r, 0, M_PI / 2);
    cairo_arc(cr, x + r, y + h - r, r, M_PI / 2, M_PI);
    cairo_arc(cr, x + r, y + r, r, M_PI, 3 * M_PI / 2);
    cairo_close_path(cr);
}

static double text(struct page *p, struct tl_wk_text style, struct tl_lab c, double x, double y, const char *utf8)
{
    colour(p->cr, c, 1);
    return tl_wk_text_draw(p->cr, &style, x, y, utf8);
}

static void text_right(struct page *p, struct tl_wk_text style, struct tl_lab c, double x, double y, const char *utf8)
{
    text(p, style, c, x - tl_wk_text_width(p->cr, &style, utf8), y, utf8);
}

static void timecode(const struct tl_wk_sheet *s, double t, char *ret, size_t cap)
{
    double fps = s->fps > 0 ? s->fps : 25;
    unsigned base = lrint(fps) > 0 ? (unsigned)lrint(fps) : 1, frames = (unsigned)lrint(t * fps), sec = frames / base;
    snprintf(ret, cap, "%02u:%02u:%02u:%02u", sec / 3600 % 100, sec / 60 % 60, sec % 60, frames % base % 1000);
}

static void clock_text(double t, char *ret, size_t cap)
{
    long s = lrint(t);
    if (s >= 3600)
        snprintf(ret, cap, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(ret, cap, "%ld:%02ld", s / 60, s % 60);
}

static void draw_header(struct page *p)
{
    const struct tl_wk_sheet *s = p->s;
    bool titled = s->title && s->title[0];
    text(p, (struct tl_wk_text){TL_FONT_BOLD, 46, -0.005, p->width - 2 * margin}, p->ink, margin, margin + 30,
         titled ? s->title : "Contact sheet");
    char line[256], length[24], shown[48];
    clock_text(s->duration_sec, length, sizeof(length));
    snprintf(shown, sizeof(shown),
             s->nshots < s->all_shots ? "%zu of %zu shots"
             : s->nshots == 1         ? "%zu shot"
                                      : "%zu shots",
             s->nshots, s->all_shots);
    int n = snprintf(line, sizeof(line), "%s    %d × %d    %.4g fps    %s", length, s->width, s->height, s->fps, shown);
    if (s->all_shots > 1)
        n += snprintf(line + n, sizeof(line) - (size_t)n, "    %.1f s a shot", s->duration_sec / (double)s->all_shots);
    if (s->lufs < 0)
        snprintf(line + n, sizeof(line) - (size_t)n, "    \u2212%.1f LUFS", -s->lufs);
    text(p, (struct tl_wk_text){TL_FONT_REGULAR, 19, 0.01, 0}, p->soft, margin, margin + 74, line);
}

/* The palette as one band; parts by weight, but none too small to be read. */
static void draw_strip(struct page *p)
{
    const struct tl_wk_sheet *s = p->s;
    double y = header, w = p->width - 2 * margin, part[TL_SHEET_COLOURS], sum = 0, x = margin;
    if (!s->ncolours)
        return;
    for (size_t i = 0; i < s->ncolours; i++) {
        part[i] = 0.5 / (double)s->ncolours + 0.5 * s->weights[i];
        sum += part[i];
    }
    cairo_save(p->cr);
    rounded(p->cr, margin, y, w, strip, 8);
    cairo_clip(p->cr);
    for (size_t i = 0; i < s->ncolours; i++) {
        double pw = w * part[i] / sum;
        colour(p->cr, s->palette[i], 1);
        cairo_rectangle(p->cr, x, y, pw + 1, strip);
        cairo_fill(p->cr);
        char hex[TL_HEX_COLOR];
        tl_wk_hex_text(s->palette[i], hex);
        struct tl_wk_text style = {TL_FONT_REGULAR, 14, 0.06, pw - 24};
        if (pw > 90) {
            colour(p->cr, s->palette[i].L > 0.62f ? (struct tl_lab){0.15f, 0, 0} : (struct tl_lab){0.97f, 0, 0}, 0.72);
            tl_wk_text_draw(p->cr, &style, x + 16, y + strip / 2 + 5, hex + 1);
        }
        x += pw;
    }
    cairo_restore(p->cr);
    rounded(p->cr, margin + 0.5, y + 0.5, w - 1, strip - 1, 8);
    colour(p->cr, p->ink, 0.10);
    cairo_set_line_width(p->cr, 1);
    cairo_stroke(p->cr);
}

/* How a shot begins: a stroke for a cut, two crossing wedges for a dissolve. Returns its width. */
static double draw_transition(struct page *p, const struct tl_wk_sheet_shot *k, double x, double y)
{
    if (!k->dissolve)
        return 0;
    cairo_move_to(p->cr, x, y - 11);
    cairo_line_to(p->cr, x + 22, y);
    cairo_line_to(p->cr, x, y);
    cairo_close_path(p->cr);
    colour(p->cr, p->accent, 0.95);
    cairo_fill(p->cr);
    cairo_move_to(p->cr, x, y - 11);
    cairo_line_to(p->cr, x + 22, y - 11);
    cairo_line_to(p->cr, x + 22, y);
    cairo_close_path(p->cr);
    colour(p->cr, p->accent, 0.38);
    cairo_fill(p->cr);
    return 34;
}

static double emotion_between(const struct tl_wk_sheet *s, double from, double to)
{
    double sum = 0;
    int n = 0;
    for (size_t i = from > 0 ? (size_t)from : 0; i < s->nemotion && ((double)i < to || n == 0); i++, n++)
        sum += s->emotion[i];
    return n ? sum / n : 0;
}

static void draw_picture(struct page *p, const struct tl_wk_sheet_shot *k, double x, double y)
{
    cairo_t *cr = p->cr;
    cairo_save(cr);
    rounded(cr, x, y, p->picture_w, p->picture_h, 7);
    cairo_clip(cr);
    colour(cr, p->faint, 0.35);
    cairo_paint(cr);
    if (k->picture) {
        double w = cairo_image_surface_get_width(k->picture), h = cairo_image_surface_get_height(k->picture);
        cairo_translate(cr, x, y);
        cairo_scale(cr, p->picture_w / w, p->picture_h / h);
        cairo_set_source_surface(cr, k->picture, 0, 0);
        cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_GOOD);
        cairo_pattern_set_extend(cairo_get_source(cr), CAIRO_EXTEND_PAD);
        cairo_paint(cr);
    }
    cairo_restore(cr);
    rounded(cr, x + 0.5, y + 0.5, p->picture_w - 1, p->picture_h - 1, 7);
    colour(cr, p->ink, 0.09);
    cairo_set_line_width(cr, 1);
    cairo_stroke(cr);
}

static void draw_shot(struct page *p, const struct tl_wk_sheet_shot *k, double x, double y)
{
    draw_picture(p, k, x, y);
    double base = y + p->picture_h + 31;
    char number[16], code[32], length[24];
    snprintf(number, sizeof(number), "%02d", k->number);
    timecode(p->s, k->start_sec, code, sizeof(code));
    snprintf(length, sizeof(length), "%.1f s", k->end_sec - k->start_sec);
    bool roomy = p->picture_w > 260;
    double at = x + 2;
    at += text(p, (struct tl_wk_text){TL_FONT_BOLD, 18, 0.02, 0}, p->ink, at, base, number) + 14;
    at += draw_transition(p, k, at, base);
    text(p, (struct tl_wk_text){TL_FONT_REGULAR, 16, 0.03, 0}, p->soft, at, base, roomy ? code : code + 3);
    if (roomy)
        text_right(p, (struct tl_wk_text){TL_FONT_REGULAR, 16, 0.02, 0}, p->soft, x + p->picture_w - 2, base, length);
    if (!p->s->nemotion)
        return;
    /* How much the shot moves: a hairline under its caption. */
    double level = emotion_between(p->s, k->start_sec, k->end_sec);
    colour(p->cr, p->faint, 0.7);
    cairo_rectangle(p->cr, x + 2, base + 11, p->picture_w - 4, 2);
    cairo_fill(p->cr);
    colour(p->cr, p->accent, 1);
    cairo_rectangle(p->cr, x + 2, base + 11, (p->picture_w - 4) * (level < 0 ? 0 : level > 1 ? 1 : level), 2);
    cairo_fill(p->cr);
}

static double curve_x(const struct page *p, double t)
{
    double d = p->s->duration_sec > 0 ? p->s->duration_sec : 1;
    return margin + (p->width - 2 * margin) * (t < 0 ? 0 : t > d ? 1 : t / d);
}

static double curve_y(const struct page *p, double v)
{
    return p->curve_y + curve_height * (1 - (v < 0 ? 0 : v > 1 ? 1 : v));
}

/* Values stand in the middle of their seconds; Fritsch-Carlson tangents keep the line from overshooting them. */
static void trace_curve(struct page *p)
{
    const double *v = p->s->emotion;
    size_t n = p->s->nemotion;
    cairo_move_to(p->cr, curve_x(p, 0), curve_y(p, v[0]));
    cairo_line_to(p->cr, curve_x(p, 0.5), curve_y(p, v[0]));
    double slope = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        double d0 = v[i + 1] - v[i], d1 = i + 2 < n ? v[i + 2] - v[i + 1] : 0,
               next = d0 * d1 > 0 ? 2 * d0 * d1 / (d0 + d1) : 0;
        double t0 = (double)i + 0.5, t1 = t0 + 1;
        cairo_curve_to(p->cr, curve_x(p, t0 + 1.0 / 3), curve_y(p, v[i] + slope / 3), curve_x(p, t1 - 1.0 / 3),
                       curve_y(p, v[i + 1] - next / 3), curve_x(p, t1), curve_y(p, v[i + 1]));
        slope = next;
    }
    cairo_line_to(p->cr, curve_x(p, p->s->duration_sec), curve_y(p, v[n - 1]));
}

static void draw_changes(struct page *p, double bottom)
{
    const struct tl_wk_sheet *s = p->s;
    cairo_set_line_width(p->cr, 1);
    for (size_t i = 1; i < s->all_shots && s->all_shots < 240; i++) {
        double x = floor(curve_x(p, s->changes[i])) + 0.5;
        cairo_move_to(p->cr, x, p->curve_y - 6);
        cairo_line_to(p->cr, x, bottom);
        colour(p->cr, p->ink, 0.13);
        cairo_stroke(p->cr);
    }
}

/* One bar of the shots' mean colours, as long as they last. */
static void draw_barcode(struct page *p, double y)
{
    const struct tl_wk_sheet *s = p->s;
    cairo_save(p->cr);
    rounded(p->cr, margin, y, p->width - 2 * margin, 14, 4);
    cairo_clip(p->cr);
    for (size_t i = 0; i < s->nshots; i++) {
        double x0 = i ? curve_x(p, s->shots[i].start_sec) : margin;
        colour(p->cr, s->shots[i].mean, 1);
        cairo_rectangle(p->cr, x0, y, p->width - margin - x0, 14);
        cairo_fill(p->cr);
    }
    cairo_restore(p->cr);
}

static void draw_axis(struct page *p, double y)
{
    static const double steps[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600};
    size_t k = 0;
    while (k + 1 < sizeof(steps) / sizeof(steps[0]) && p->s->duration_sec / steps[k] > 13)
        k++;
    struct tl_wk_text style = {TL_FONT_REGULAR, 14, 0.03, 0};
    int marks = (int)(p->s->duration_sec / steps[k] + 1e-6);
    for (int i = 0; i <= marks; i++) {
        double t = i * steps[k];
        char label[24];
        clock_text(t, label, sizeof(label));
        double w = tl_wk_text_width(p->cr, &style, label), x = curve_x(p, t) - w / 2;
        x = x < margin ? margin : x + w > p->width - margin ? p->width - margin - w : x;
        text(p, style, p->soft, x, y, label);
    }
}

static void mark_peak(struct page *p)
{
    size_t best = 0;
    for (size_t i = 1; i < p->s->nemotion; i++)
        if (p->s->emotion[i] > p->s->emotion[best])
            best = i;
    double x = curve_x(p, (double)best + 0.5), y = curve_y(p, p->s->emotion[best]);
    char label[48], when[24];
    cairo_arc(p->cr, x, y, 6, 0, 2 * M_PI);
    colour(p->cr, p->paper, 1);
    cairo_fill(p->cr);
    cairo_arc(p->cr, x, y, 4, 0, 2 * M_PI);
    colour(p->cr, p->ink, 1);
    cairo_fill(p->cr);
    clock_text((double)best, when, sizeof(when));
    snprintf(label, sizeof(label), "%.2f at %s", p->s->emotion[best], when);
    struct tl_wk_text style = {TL_FONT_BOLD, 15, 0.01, 0};
    double w = tl_wk_text_width(p->cr, &style, label);
    text(p, style, p->ink, x + 14 + w > p->width - margin ? x - 14 - w : x + 14, y - 8, label);
}

static void draw_curve(struct page *p)
{
    double bottom = p->curve_y + curve_height, bar = bottom + 16;
    text(p, (struct tl_wk_text){TL_FONT_BOLD, 15, 0.12, 0}, p->soft, margin, p->curve_y - 34, "EMOTION");
    draw_changes(p, bar);
    for (int i = 0; i <= 2; i++) {
        double y = floor(curve_y(p, i * 0.5)) + 0.5;
        cairo_move_to(p->cr, margin, y);
        cairo_line_to(p->cr, p->width - margin, y);
        colour(p->cr, p->ink, i ? 0.07 : 0.22);
        cairo_set_line_width(p->cr, 1);
        cairo_stroke(p->cr);
    }
    trace_curve(p);
    cairo_line_to(p->cr, p->width - margin, bottom);
    cairo_line_to(p->cr, margin, bottom);
    cairo_close_path(p->cr);
    float rgb[3];
    tl_wk_lab_to_srgb(p->accent, rgb);
    cairo_pattern_t *fade = cairo_pattern_create_linear(0, p->curve_y, 0, bottom);
    cairo_pattern_add_color_stop_rgba(fade, 0, (double)rgb[0], (double)rgb[1], (double)rgb[2], 0.55);
    cairo_pattern_add_color_stop_rgba(fade, 1, (double)rgb[0], (double)rgb[1], (double)rgb[2], 0.04);
    cairo_set_source(p->cr, fade);
    cairo_fill(p->cr);
    cairo_pattern_destroy(fade);
    trace_curve(p);
    colour(p->cr, p->accent, 1);
    cairo_set_line_width(p->cr, 2.5);
    cairo_set_line_join(p->cr, CAIRO_LINE_JOIN_ROUND);
    cairo_stroke(p->cr);
    mark_peak(p);
}

cairo_surface_t *tl_wk_sheet_draw(const struct tl_wk_sheet *s)
{
    struct page p = {.s = s, .width = TL_SHEET_WIDTH};
    double aspect = s->width > 0 && s->height > 0 ? (double)s->width / s->height : 16.0 / 9;
    aspect = aspect < 0.4 ? 0.4 : aspect > 3 ? 3 : aspect;
    p.columns = tl_wk_sheet_columns(s->nshots, aspect);
    p.picture_w = tl_wk_sheet_picture_width(p.columns);
    p.picture_h = floor(p.picture_w / aspect);
    size_t rows = (s->nshots + (size_t)p.columns - 1) / (size_t)p.columns;
    p.grid_y = header + (s->ncolours ? strip + 52 : 0);
    double grid_end = p.grid_y + (double)rows * (p.picture_h + caption) + ((double)rows - 1) * 20;
    bool curved = s->nemotion > 0;
    p.curve_y = grid_end + 110;
    double bar = curved ? p.curve_y + curve_height + 16 : grid_end + 44;
    p.height = ceil(bar + foot + 40);
    choose_colours(&p);
    cairo_surface_t *page = cairo_image_surface_create(CAIRO_FORMAT_RGB24, TL_SHEET_WIDTH, (int)p.height);
    p.cr = cairo_create(page);
    colour(p.cr, p.paper, 1);
    cairo_paint(p.cr);
    draw_header(&p);
    draw_strip(&p);
    for (size_t i = 0; i < s->nshots; i++) {
        size_t column = i % (size_t)p.columns, row = i / (size_t)p.columns;
        draw_shot(&p, &s->shots[i], margin + (double)column * (p.picture_w + gap),
                  p.grid_y + (double)row * (p.picture_h + caption + 20));
    }
    if (curved)
        draw_curve(&p);
    draw_barcode(&p, bar);
    draw_axis(&p, bar + 40);
    bool ok = cairo_status(p.cr) == CAIRO_STATUS_SUCCESS;
    cairo_destroy(p.cr);
    if (ok && cairo_surface_status(page) == CAIRO_STATUS_SUCCESS)
        return page;
    cairo_surface_destroy(page);
    return NULL;
}
