/* Decoded sound in one form: interleaved 32-bit float at one rate and number of channels, whatever the stream does on the way. */
#ifndef TL_WORKER_MEDIA_SOUND_H
#define TL_WORKER_MEDIA_SOUND_H

#include <libavutil/frame.h>

struct SwrContext;

struct tl_wk_sound {
    int rate, channels; /* of what comes out; taken from the first frame where 0 */
    struct SwrContext *swr;
    int in_rate, in_format;
    AVChannelLayout in_layout, out_layout;
    float *buf;
    int cap;
};

/* Converts; *ret is borrowed until the next call, *ret_n samples a channel (0 is possible). frame NULL: what is left at the end. */
int tl_wk_sound_take(struct tl_wk_sound *s, const AVFrame *frame, const float **ret, int *ret_n);
void tl_wk_sound_clear(struct tl_wk_sound *s);

#endif
