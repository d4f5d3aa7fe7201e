/* The sheets bus: derived rows that results are recorded in, numbered from 1 without gaps, per organisation and sheet.
 * One row per distinct result: the same content key finds the row that is there, so a run that goes on after a crash
 * appends nothing twice. */
#ifndef TL_CAPSULES_SHEET_H
#define TL_CAPSULES_SHEET_H

#include "store/db.h"

#include <jansson.h>
#include <stdint.h>

#define TL_SHEET_DERIVED "CREBIT_DERIVED_INSIGHTS"

/* Appends row (borrowed) to a sheet of org unless a row with this content key is there. done is called once, on the
 * database's writer thread, with the row's number after the commit. 0, or TL_ENOMEM/TL_EIO and done is not called. */
int tl_sheet_append(struct tl_db *db, const char *org, const char *sheet, const uint8_t key[32], const json_t *row,
                    void (*done)(void *arg, int err, uint64_t number), void *arg);
/* A row by its number; TL_ENOTFOUND. Returned owned. */
int tl_sheet_row(struct tl_db *db, const char *org, const char *sheet, uint64_t number, json_t **ret);

#endif
