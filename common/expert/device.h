/*
 * device - devices to emulate, as files and as command lines name them.
 *
 *     emu:NAME[,skip][,nolink][,as=SHAPE]
 *
 * NAME with a slash is a file; else NAME.tsv is looked for in $MOE_DEVICES,
 * then beside the program: ../share/moe/devices, ../kernels/emu/devices,
 * ../../../kernels/emu/devices.  SHAPE is one of device_shapes.
 */
#ifndef MOE_DEVICE_H
#define MOE_DEVICE_H

#include <stdio.h>

#include "emu/emu.h"
#include "err.h"

#define DEVICE_SHAPES	"mixtral|mixtral-mqa|moe16-mqa|olmoe|qwen3-30b|dsv3"

/* -1: ERR_USAGE naming those that there are. */
int	device_shape(const char *name, struct emu_shape *out, struct err *err);

/* -1: ERR_USAGE (no such device), ERR_DATA naming the file and what is wrong
 * with it. */
int	device_find(const char *name, struct emu_device *out, struct err *err);

/* "emu:..." into all of o but its scale. */
int	device_parse(const char *spec, struct emu_opt *o, struct err *err);

/* Write d as #moe:device/1; source says where all its figures come from. */
int	device_write(const struct emu_device *d, const char *source, FILE *fp,
	    struct err *err);

#define DEVICE_SAY	256
/* What an emulated device did, and how wrong its times may be; NULL when kn is
 * none, or has done nothing. */
const char *device_say(const struct kern *kn, char out[DEVICE_SAY]);

#endif
