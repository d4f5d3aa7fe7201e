/* The ops of worker/media/, for the table of worker/job.c. Ports, parameters and results: SPEC.md section 9. */
#ifndef TL_WORKER_MEDIA_OPS_H
#define TL_WORKER_MEDIA_OPS_H

#include "worker/worker.h"

int tl_wk_media_probe(struct tl_wk_job *job, json_t **ret);
int tl_wk_media_analyze(struct tl_wk_job *job, json_t **ret);
int tl_wk_media_look(struct tl_wk_job *job, json_t **ret);
int tl_wk_media_sheet(struct tl_wk_job *job, json_t **ret);

#endif
