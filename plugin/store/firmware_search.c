/* Finding the file of an image, by its size and then by its SHA-256. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ota/base/clock.h"
#include "ota/base/hex.h"

#include "firmware_internal.h"

enum {
	SLICE_BYTES = 256 << 10,
	ENTRIES_A_STEP = 64,
	TELL_AGAIN_MS = 600000, /* what is missing is said every ten minutes while it is asked for */
};

bool files_init(struct firmware_files *files, const char *directory, struct logring *log)
{
	files->directory = directory;
	files->log = log;
	files->search.fd = -1;
	for (size_t i = 0; i < FIRMWARE_IMAGES_MAX; i++) {
		files->images[i].fd = -1;
	}
	files->search.hash = EVP_MD_CTX_new();
	files->slice = malloc(SLICE_BYTES);
	return files->search.hash && files->slice;
}

static void end_search(struct search *search)
{
	if (search->fd >= 0) {
		(void)close(search->fd);
		search->fd = -1;
	}
	if (search->directory) {
		(void)closedir(search->directory);
		search->directory = NULL;
	}
	search->image = NULL;
}

static void image_close(struct image *image)
{
	if (image->fd >= 0) {
		(void)close(image->fd);
		image->fd = -1;
	}
}

void files_clear(struct firmware_files *files)
{
	end_search(&files->search);
	for (size_t i = 0; i < FIRMWARE_IMAGES_MAX; i++) {
		image_close(&files->images[i]);
	}
	EVP_MD_CTX_free(files->search.hash);
	free(files->slice);
}

static struct file_mark mark_of(const struct stat *status)
{
	return (struct file_mark){ .device = status->st_dev,
		.inode = status->st_ino,
		.size = status->st_size,
		.modified = status->st_mtim,
		.changed = status->st_ctim };
}

static bool mark_equal(const struct file_mark *left, const struct file_mark *right)
{
	return left->device == right->device && left->inode == right->inode && left->size == right->size
		&& left->modified.tv_sec == right->modified.tv_sec
		&& left->modified.tv_nsec == right->modified.tv_nsec
		&& left->changed.tv_sec == right->changed.tv_sec
		&& left->changed.tv_nsec == right->changed.tv_nsec;
}

/* Is the file behind `fd` still so, and does it still have a name? */
static bool is_still(int fd, const struct file_mark *mark)
{
	struct stat status;
	struct file_mark now;

	if (fstat(fd, &status) != 0 || status.st_nlink == 0) {
		return false;
	}
	now = mark_of(&status);
	return mark_equal(&now, mark);
}

struct image *files_image(struct firmware_files *files, const struct block_job *job)
{
	struct image *oldest = &files->images[0];

	files->uses++;
	for (size_t i = 0; i < FIRMWARE_IMAGES_MAX; i++) {
		struct image *image = &files->images[i];

		if (image->size == job->size && strcmp(image->sha256, job->sha256) == 0) {
			image->used = files->uses;
			return image;
		}
		if (image->used < oldest->used) {
			oldest = image;
		}
	}
	if (files->search.image == oldest) {
		end_search(&files->search);
	}
	image_close(oldest);
	memset(oldest, 0, sizeof(*oldest));
	oldest->fd = -1;
	oldest->used = files->uses;
	oldest->size = job->size;
	memcpy(oldest->sha256, job->sha256, sizeof(oldest->sha256));
	memcpy(oldest->version, job->version, sizeof(oldest->version));
	return oldest;
}

bool files_unchanged(struct firmware_files *files, struct image *image)
{
	if (is_still(image->fd, &image->mark)) {
		return true;
	}
	logring_printf(files->log, LOG_LEVEL_WARNING,
		"%s/%s has changed or is gone: nothing more of it is served until a file with the SHA-256 of release %s "
		"is found again",
		files->directory, image->name, image->version);
	image_close(image);
	image->state = IMAGE_UNKNOWN;
	image->told_ms = 0;
	return false;
}

static const struct known_file *known_of(
	const struct firmware_files *files, const struct file_mark *mark)
{
	for (size_t i = 0; i < FIRMWARE_FILES_MAX; i++) {
		if (files->known[i].sha256[0] && mark_equal(&files->known[i].mark, mark)) {
			return &files->known[i];
		}
	}
	return NULL;
}

static void found(struct firmware_files *files, int fd)
{
	struct search *search = &files->search;
	struct image *image = search->image;

	image->fd = fd;
	image->mark = search->mark;
	memcpy(image->name, search->name, sizeof(image->name));
	image->state = IMAGE_READY;
	image->told_ms = 0;
	logring_printf(files->log, LOG_LEVEL_NOTICE,
		"release %s can be served in blocks: %s/%s has its size and SHA-256", image->version,
		files->directory, image->name);
	end_search(search);
}

/* What an operator should know when the search ends without a file; the first thing counts. */
static void note(struct search *search, const char *name, const char *what)
{
	if (!search->detail[0]) {
		(void)snprintf(search->detail, sizeof(search->detail), "; %s %s", name, what);
	}
}

static void other_file(struct search *search)
{
	note(search, search->name, "has the size, and another SHA-256");
}

/* Is it time to say what is wrong with it, again? */
static bool tell(struct image *image, int64_t now_ms)
{
	if (image->told_ms != 0 && now_ms - image->told_ms < TELL_AGAIN_MS) {
		return false;
	}
	image->told_ms = now_ms == 0 ? 1 : now_ms;
	return true;
}

void files_unreadable(struct firmware_files *files, struct image *image, int code)
{
	if (tell(image, clock_mono_ms())) {
		logring_printf(files->log, LOG_LEVEL_ERROR,
			"release %s is not served in blocks: %s/%s cannot be read: %s; devices are put off until it can",
			image->version, files->directory, image->name, strerrordesc_np(code));
	}
}

static void missing(struct firmware_files *files)
{
	struct search *search = &files->search;
	struct image *image = search->image;
	const int64_t now = clock_mono_ms();

	image->state = IMAGE_MISSING;
	image->searched_ms = now;
	if (tell(image, now)) {
		if (search->trouble) {
			logring_printf(files->log, LOG_LEVEL_ERROR,
				"release %s cannot be served in blocks: the directory %s cannot be read: %s",
				image->version, files->directory, strerrordesc_np(search->trouble));
		} else {
			logring_printf(files->log, LOG_LEVEL_ERROR,
				"release %s cannot be served in blocks: no file in %s has %lld bytes and SHA-256 %s%s",
				image->version, files->directory, (long long)image->size, image->sha256,
				search->detail);
		}
	}
	end_search(search);
}

/* A file of the right size: known from before, or to be hashed. */
static void consider(struct firmware_files *files, const char *name)
{
	struct search *search = &files->search;
	const struct known_file *known;
	struct stat status;
	/* Not a device that answers when it likes, and nothing outside the directory. */
	int fd = openat(dirfd(search->directory), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0) {
		note(search, name, "has the size and cannot be read");
		return;
	}
	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)
		|| (int64_t)status.st_size != search->image->size) {
		(void)close(fd);
		return;
	}
	memcpy(search->name, name, strlen(name) + 1);
	search->mark = mark_of(&status);
	known = known_of(files, &search->mark);
	if (known && strcmp(known->sha256, search->image->sha256) == 0) {
		found(files, fd);
		return;
	}
	if (known || EVP_DigestInit_ex(search->hash, EVP_sha256(), NULL) != 1) {
		other_file(search);
		(void)close(fd);
		return;
	}
	search->fd = fd;
}

static void look_at_entries(struct firmware_files *files)
{
	struct search *search = &files->search;

	for (int i = 0; i < ENTRIES_A_STEP && search->image && search->fd < 0; i++) {
		const struct dirent *entry = readdir(search->directory);
		struct stat status;

		if (!entry) {
			missing(files);
			return;
		}
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(search->name)
			|| fstatat(dirfd(search->directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW)
				!= 0) {
			continue;
		}
		if (S_ISLNK(status.st_mode)) {
			note(search, entry->d_name, "is a symbolic link, and those are not followed");
		} else if (S_ISREG(status.st_mode) && (int64_t)status.st_size == search->image->size) {
			consider(files, entry->d_name);
		}
	}
}

static void remember(struct firmware_files *files, const char *sha256)
{
	struct known_file *known = &files->known[files->next_known++ % FIRMWARE_FILES_MAX];

	known->mark = files->search.mark;
	memcpy(known->sha256, sha256, sizeof(known->sha256));
}

/* The whole file is hashed. */
static void compare(struct firmware_files *files)
{
	struct search *search = &files->search;
	unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
	char sha256[BLOCK_SHA256] = "";
	unsigned length = 0;
	int fd = search->fd;

	search->fd = -1;
	if (EVP_DigestFinal_ex(search->hash, digest, &length) == 1 && length == 32) {
		hex_write(digest, length, sha256);
	}
	/* One that is being written while it is hashed is none yet. */
	if (!sha256[0] || !is_still(fd, &search->mark)) {
		(void)close(fd);
		other_file(search);
		return;
	}
	remember(files, sha256);
	if (strcmp(sha256, search->image->sha256) == 0) {
		found(files, fd);
		return;
	}
	(void)close(fd);
	other_file(search);
}

static void hash_a_slice(struct firmware_files *files)
{
	struct search *search = &files->search;
	ssize_t got = read(search->fd, files->slice, SLICE_BYTES);

	if (got < 0 && errno == EINTR) {
		return;
	}
	if (got > 0 && EVP_DigestUpdate(search->hash, files->slice, (size_t)got) == 1) {
		return;
	}
	if (got == 0) {
		compare(files);
		return;
	}
	note(search, search->name, "has the size and cannot be read");
	(void)close(search->fd);
	search->fd = -1;
}

static void begin(struct firmware_files *files, struct image *image)
{
	struct search *search = &files->search;

	search->image = image;
	search->trouble = 0;
	search->detail[0] = '\0';
	image->state = IMAGE_SEARCHED;
	search->directory = opendir(files->directory);
	if (!search->directory) {
		search->trouble = errno;
		missing(files);
	}
}

bool files_search(struct firmware_files *files)
{
	struct search *search = &files->search;

	if (search->image) {
		if (search->fd >= 0) {
			hash_a_slice(files);
		} else {
			look_at_entries(files);
		}
		return true;
	}
	for (size_t i = 0; i < FIRMWARE_IMAGES_MAX; i++) {
		struct image *image = &files->images[i];

		if (image->sha256[0] && image->state == IMAGE_UNKNOWN) {
			begin(files, image);
			return true;
		}
	}
	return false;
}

void files_greet(struct firmware_files *files)
{
	DIR *directory = opendir(files->directory);

	if (!directory) {
		logring_printf(files->log, LOG_LEVEL_ERROR,
			"plugin_opt_firmware_directory %s cannot be read: %s; no image is served in blocks until it can",
			files->directory, strerrordesc_np(errno));
		return;
	}
	(void)closedir(directory);
	logring_printf(
		files->log, LOG_LEVEL_INFO, "images in %s are served in blocks", files->directory);
}
