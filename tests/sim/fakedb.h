/* The store of the simulation: store/db.h in memory, linked instead of the store's library. Nothing is committed but when the world says so; a crash
 * loses what was not. The database outlives a crash and is then taken up again under the same pointer. */
#ifndef TL_SIM_FAKEDB_H
#define TL_SIM_FAKEDB_H

#include "store/db.h"

/* Writes that wait for a commit. */
size_t fake_pending(const struct tl_db *db);
/* Commits the first n of them in one transaction, then tells whoever waits. twice: each function runs a second time after an abort, as the contract
 * allows the engine. Returns how many writes were told. */
size_t fake_commit(struct tl_db *db, size_t n, bool twice);
/* The machine stops: the first n waiting writes still reach the disk, but nobody hears of it; all others are lost. Every write fails from here on
 * with TL_EIO, until fake_reopen. */
void fake_crash(struct tl_db *db, size_t n);
void fake_reopen(struct tl_db *db);
/* How many keys a table has. */
uint64_t fake_count(const struct tl_db *db, enum tl_table table);

#endif
