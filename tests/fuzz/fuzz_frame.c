/* What a talos-worker may write to the server: frames, in pieces of any size. */
#include "base/err.h"
#include "wire/job.h"

#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    if (size > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return 0;
    struct tl_frame_reader reader = {0};
    bool good = true;
    for (size_t at = 0; good && at < size;) {
        size_t piece = 1 + data[at] * 16u;
        if (piece > size - at)
            piece = size - at;
        if (write(pair[0], data + at, piece) != (ssize_t)piece)
            break;
        at += piece;
        good = tl_frame_fill(&reader, pair[1]) == 0;
        for (struct tl_frame f; good;) {
            int err = tl_frame_next(&reader, &f);
            good = err == 0 || err == TL_EAGAIN;
            if (err)
                break;
            tl_frame_clear(&f);
        }
    }
    tl_frame_reader_clear(&reader);
    close(pair[0]);
    close(pair[1]);
    return 0;
}
