/* The program's log: one JSON object a line on standard error. For server and command line only; libraries do not log.
 * Never hand it values of a capsule's private side. */
#ifndef TL_BASE_LOG_H
#define TL_BASE_LOG_H

enum tl_log_level { TL_LOG_ERROR, TL_LOG_WARN, TL_LOG_INFO, TL_LOG_DEBUG };

void tl_log_level(enum tl_log_level most); /* default TL_LOG_INFO */
/* event is a fixed word ("run.failed"); fmt makes the human sentence. Thread-safe; a line is written whole. */
void tl_log(enum tl_log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
