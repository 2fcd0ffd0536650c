/* What firmware.c (the thread) and firmware_search.c (finding a file) share; see ota/store/firmware.h. */
#pragma once

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include "ota/store/firmware.h"

/* A file as it was when it was hashed. */
struct file_mark {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed;
};

struct known_file {
	struct file_mark mark;
	char sha256[BLOCK_SHA256]; /* "": a free place */
};

enum image_state {
	IMAGE_UNKNOWN = 0, /* to be searched */
	IMAGE_SEARCHED,    /* the search goes on */
	IMAGE_READY,       /* open and checked */
	IMAGE_MISSING,
};

struct image {
	char sha256[BLOCK_SHA256];
	char version[64];
	int64_t size;
	enum image_state state;
	int fd; /* READY; else -1 */
	struct file_mark mark;
	int64_t searched_ms; /* when it was found missing */
	int64_t told_ms;     /* when that, or that it cannot be read, was logged; 0: never */
	uint64_t used;
	char name[256]; /* of the file */
};

/* The search for one image: the directory's entries one after the other. */
struct search {
	struct image *image; /* NULL: none goes on */
	DIR *directory;
	int fd; /* of the file being hashed; -1: none */
	struct file_mark mark;
	char name[256];
	EVP_MD_CTX *hash;
	int trouble; /* errno of the directory */
	char detail
		[320]; /* for the log, when nothing is found: the first thing that is not as it should be */
};

struct firmware_files {
	const char *directory;
	struct logring *log;
	struct image images[FIRMWARE_IMAGES_MAX]; /* sha256 "": a free place */
	struct known_file known[FIRMWARE_FILES_MAX];
	size_t next_known;
	uint64_t uses;
	struct search search;
	uint8_t *slice;
};

/* Zeroed memory made ready; false: no memory.  To be cleared in any case. */
OTA_MUST_USE bool files_init(
	struct firmware_files *files, const char *directory, struct logring *log);
void files_clear(struct firmware_files *files);

/* The entry of this job's image, a new one when there is none. */
struct image *files_image(struct firmware_files *files, const struct block_job *job);
/* Is the open file of a READY image still the one that was checked?  If not, it is to be searched. */
bool files_unchanged(struct firmware_files *files, struct image *image);
/* The open file of a READY image cannot be read: say so, once in a while. */
void files_unreadable(struct firmware_files *files, struct image *image, int code);
/* Do a bit of searching.  False: there is nothing to search. */
bool files_search(struct firmware_files *files);
/* Say what the directory is like, at the start. */
void files_greet(struct firmware_files *files);
