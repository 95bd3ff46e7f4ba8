/*
 * log - lines for people on stderr: "moe-expertd[e3]: warn: text".  One line
 * per event, never one per token.  Only programs and the loop call it;
 * libraries fill a struct err instead.
 */
#ifndef MOE_LOG_H
#define MOE_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Call once before threads start.  name may be NULL ("moe-expertd[e3]"). */
void	log_init(const char *prog, const char *name, enum log_level level);
enum log_level log_level(void);
/* Thread-safe; one write(2) a line. */
void	log_at(enum log_level level, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));

#define log_error(...)	log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)	log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)	log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	log_at(LOG_DEBUG, __VA_ARGS__)

#endif
