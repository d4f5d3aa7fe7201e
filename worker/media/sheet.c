/* media.sheet: reads the analysis, takes one picture from each shot and writes the page as PNG. */
#include "worker/media/sheet.h"

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/media/canvas.h"
#include "worker/media/font.h"
#include "worker/media/ops.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { CHANGES_MAX = 20001, SECONDS_MAX = 4 * 60 * 60 + 2 };

struct sheet {
    struct tl_wk_job *job;
    struct tl_wk_media media;
    struct tl_wk_canvas canvas;
    struct tl_wk_sheet page;
    double *changes, *emotion;
    double wanted; /* time of the picture looked for */
    bool found;
    AVFrame *last; /* the latest before it */
};

static double bounded(const json_t *obj, const char *key, double low, double high)
{
    double v = tl_json_num(obj, key, low);
    return v >= low && v <= high ? v : low;
}

/* All shots where they fit, else thirty spread over the clip. */
static int read_shots(struct sheet *k, const json_t *analysis)
{
    const json_t *shots = json_object_get(analysis, "shots");
    size_t n = json_array_size(shots);
    struct tl_wk_sheet *p = &k->page;
    if (!n || n > CHANGES_MAX)
        return tl_wk_fail(k->job, TL_EINVAL, "the analysis has no list of shots");
    k->changes = tl_calloc(n, sizeof(*k->changes));
    if (!k->changes)
        return TL_ENOMEM;
    for (size_t i = 0; i < n; i++)
        k->changes[i] = bounded(json_array_get(shots, i), "start_sec", 0, 1e6);
    p->changes = k->changes;
    p->all_shots = n;
    p->nshots = n < TL_SHEET_SHOTS ? n : TL_SHEET_SHOTS;
    for (size_t i = 0; i < p->nshots; i++) {
        size_t at = p->nshots > 1 ? i * (n - 1) / (p->nshots - 1) : 0;
        const json_t *s = json_array_get(shots, at);
        const char *kind = tl_json_str(s, "transition");
        p->shots[i] = (struct tl_wk_sheet_shot){.number = (int)at + 1,
                                                .start_sec = k->changes[at],
                                                .end_sec = bounded(s, "end_sec", k->changes[at], 1e6),
                                                .dissolve = kind && strcmp(kind, "dissolve") == 0,
                                                .mean = {0.3f, 0, 0}};
    }
    return 0;
}

static int read_params(struct sheet *k)
{
    const json_t *in = k->job->params, *analysis = json_object_get(in, "analysis"),
                 *palette = json_object_get(in, "palette");
    struct tl_wk_sheet *p = &k->page;
    bool own = json_array_size(palette) == 0;
    if (own)
        palette = json_object_get(analysis, "palette");
    const json_t *weights = json_object_get(analysis, "palette_weights");
    for (size_t i = 0; i < json_array_size(palette) && p->ncolours < TL_SHEET_COLOURS; i++) {
        if (!tl_wk_hex_parse(json_string_value(json_array_get(palette, i)), &p->palette[p->ncolours]))
            return tl_wk_fail(k->job, TL_EINVAL, "the palette's colour %zu is not of the form #RRGGBB", i + 1);
        double w = own ? json_number_value(json_array_get(weights, i)) : 0;
        p->weights[p->ncolours++] = w >= 0 && w <= 1 ? w : 0;
    }
    const json_t *curve = json_object_get(in, "emotion_curve");
    if (json_array_size(curve) > SECONDS_MAX)
        return tl_wk_fail(k->job, TL_EINVAL, "the emotion curve has more than %d values", SECONDS_MAX);
    if (curve && tl_json_to_floats(curve, &k->emotion, &p->nemotion) < 0)
        return tl_wk_fail(k->job, TL_EINVAL, "the emotion curve must be a list of numbers");
    p->emotion = k->emotion;
    p->title = tl_json_str(in, "title");
    p->duration_sec = bounded(analysis, "duration_sec", 0, 1e6);
    p->fps = bounded(analysis, "fps", 0, 1000);
    p->lufs = json_is_number(json_object_get(analysis, "loudness_integrated_lufs"))
                  ? bounded(analysis, "loudness_integrated_lufs", -70, 20)
                  : 0;
    return read_shots(k, analysis);
}

static int look_for_picture(void *arg, AVFrame *frame, double t)
{
    struct sheet *k = arg;
    if (tl_wk_cancelled(k->job))
        return TL_ECANCELLED;
    av_frame_unref(k->last);
    av_frame_move_ref(k->last, frame);
    k->found = t + 0.5 / (k->media.fps > 0 ? k->media.fps : 25) >= k->wanted;
    return k->found ? 1 : 0;
}

static void take_picture(struct sheet *k, struct tl_wk_sheet_shot *shot)
{
    struct tl_wk_canvas *c = &k->canvas;
    if (!k->last->data[0] || tl_wk_canvas_take(c, k->last) < 0)
        return;
    shot->picture = cairo_image_surface_create(CAIRO_FORMAT_RGB24, c->width, c->height);
    uint8_t *out = cairo_image_surface_get_data(shot->picture);
    if (!out)
        return;
    int stride = cairo_image_surface_get_stride(shot->picture);
    double sum[3] = {0};
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            const uint8_t *p = c->rgb + (ptrdiff_t)y * c->stride + 3 * x;
            uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
            memcpy(out + (ptrdiff_t)y * stride + 4 * x, &v, 4);
            for (int i = 0; i < 3; i++)
                sum[i] += (double)tl_wk_srgb8_decode(p[i]);
        }
    cairo_surface_mark_dirty(shot->picture);
    double n = (double)c->width * c->height;
    shot->mean = tl_wk_lab_from_linear((float)(sum[0] / n), (float)(sum[1] / n), (float)(sum[2] / n));
}

/* The picture in the middle of each shot. Where the file cannot be sought in, the decoder simply goes on. */
static int take_pictures(struct sheet *k)
{
    for (size_t i = 0; i < k->page.nshots; i++) {
        struct tl_wk_sheet_shot *shot = &k->page.shots[i];
        k->wanted = (shot->start_sec + shot->end_sec) / 2;
        tl_wk_media_seek(&k->media, k->wanted);
        k->found = false;
        int err = tl_wk_media_decode(&k->media, &(struct tl_wk_sink){k, look_for_picture, NULL});
        /* One shot that cannot be decoded leaves an empty frame on the page. */
        if (err == TL_ECANCELLED || err == TL_ENOMEM)
            return err;
        take_picture(k, shot);
        err = tl_wk_progress(k->job, (int64_t)i + 1, (int64_t)k->page.nshots, NULL);
        if (err < 0)
            return err;
    }
    k->job->message[0] = '\0';
    return 0;
}

static cairo_status_t write_some(void *arg, const unsigned char *bytes, unsigned len)
{
    int fd = *(int *)arg;
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return CAIRO_STATUS_WRITE_ERROR;
        bytes += n;
        len -= (unsigned)n;
    }
    return CAIRO_STATUS_SUCCESS;
}

static int draw(struct sheet *k, int fd)
{
    cairo_surface_t *page = tl_wk_sheet_draw(&k->page);
    if (!page)
        return TL_ENOMEM;
    cairo_status_t st = cairo_surface_write_to_png_stream(page, write_some, &fd);
    cairo_surface_destroy(page);
    if (st == CAIRO_STATUS_SUCCESS)
        return 0;
    return st == CAIRO_STATUS_NO_MEMORY
               ? TL_ENOMEM
               : tl_wk_fail(k->job, tl_err_from_errno(errno), "the contact sheet could not be written");
}

static int run(struct sheet *k, int fd)
{
    int err = read_params(k);
    if (err == 0)
        err = tl_wk_media_open(&k->media, k->job, "clip", TL_WK_VIDEO);
    if (err < 0)
        return err;
    struct tl_wk_sheet *p = &k->page;
    p->width = k->media.width;
    p->height = k->media.height;
    double aspect = (double)p->width / p->height;
    int wide = (int)tl_wk_sheet_picture_width(tl_wk_sheet_columns(p->nshots, aspect));
    err = tl_wk_canvas_init(&k->canvas, &k->media, wide, 4 * wide, 0);
    if (err == 0)
        err = take_pictures(k);
    if (err == 0)
        err = draw(k, fd);
    tl_wk_media_close(&k->media);
    return err;
}

int tl_wk_media_sheet(struct tl_wk_job *job, json_t **ret)
{
    int fd = tl_wk_output(job, "image");
    if (fd < 0)
        return tl_wk_fail(job, TL_EINVAL, "the job has no output file \"image\"");
    if (!tl_wk_fonts_ready())
        return tl_wk_fail(job, TL_ENOTCONFIGURED,
                          "no font is installed that a contact sheet could be written with: install fonts-noto-cjk");
    TL_AUTO_FREE struct sheet *k = tl_calloc(1, sizeof(*k));
    if (!k || !(k->last = av_frame_alloc()))
        return TL_ENOMEM;
    k->job = job;
    int err = run(k, fd);
    for (size_t i = 0; i < k->page.nshots; i++)
        cairo_surface_destroy(k->page.shots[i].picture);
    tl_wk_canvas_clear(&k->canvas);
    av_frame_free(&k->last);
    free(k->changes);
    free(k->emotion);
    if (err == 0)
        *ret = json_pack("{s:i}", "shots", (int)k->page.nshots);
    return err;
}
