/* What a run has brought, for reading: each node's outputs as swatches, bars, curves and sentences, evidence and warnings, and where files were written. */
#ifndef TL_CLI_SUMMARY_H
#define TL_CLI_SUMMARY_H

#include "cli/term.h"
#include "cli/view.h"

/* files: {node:{port:path}} of outputs that were written, or NULL. Appends text that ends with a newline. */
void tl_cli_summary(const struct tl_cli_term *term, const struct tl_cli_view *view, const json_t *files,
                    struct tl_str *out);

#endif
