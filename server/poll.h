/* libwebsockets 4.1.6 waits with poll(), which asks the kernel about every connection each time: with 5,000 of them a millisecond, whatever happens. Here its calls
 * are answered by epoll. */
#ifndef TL_SERVER_POLL_H
#define TL_SERVER_POLL_H

struct tl_poll; /* opaque */

struct tl_poll *tl_poll_new(void);    /* NULL: poll() itself is used */
void tl_poll_free(struct tl_poll *p); /* NULL accepted */
/* This thread's poll() of the array that it is called with next is p's from now on; NULL ends that. */
void tl_poll_use(struct tl_poll *p);
/* fd is another file than what may have had this number before. NULL accepted. */
void tl_poll_renewed(struct tl_poll *p, int fd);

#endif
