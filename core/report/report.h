/* core/report/report.h - a run directory as one HTML file, two CSV tables and one JSON object.
 *
 * report.html stands alone: inline SVG and a little plain JavaScript, no network, light and dark, printable. Everything
 * that came from outside (answers, notes, labels) is escaped. Files are replaced whole or not at all. A report may be
 * written while the run goes on; it then says so.
 */
#ifndef AIRA_REPORT_REPORT_H
#define AIRA_REPORT_REPORT_H

#include "core/base/error.h"

struct sqlite3;

/* Reads run_dir/journal.db (read only) and writes report.html, nodes.csv, calls.csv and report.json beside it. */
aira_status aira__report_write(const char *run_dir, aira_error *);
/* The same through a connection that is open already: the coordinator's own, which may exclude others. */
aira_status aira__report_write_db(struct sqlite3 *db, const char *run_dir, aira_error *);

#endif
