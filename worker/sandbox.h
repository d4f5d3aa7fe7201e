/* The sandbox of talos-worker: entered once, before a byte of anybody's file is read. What a worker may do afterwards is read and write the
 * descriptors it is handed, compute, allocate and make threads. */
#ifndef TL_WORKER_SANDBOX_H
#define TL_WORKER_SANDBOX_H

#include <stdint.h>

enum { TL_WK_CPU_SEC = 2 * 60 * 60, TL_WK_NOFILE = 64 };
#define TL_WK_AS_BYTES (4ull << 30)
#define TL_WK_FSIZE_BYTES (4ull << 30)

/* keep: the highest descriptor that stays open. fsize: bytes of the largest file it may write. 0, or TL_ESANDBOX: then nothing may be parsed. */
int tl_wk_sandbox_enter(int keep, uint64_t fsize);

#endif
