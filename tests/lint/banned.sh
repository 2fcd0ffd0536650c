#!/usr/bin/env bash
# Functions that are easy to use wrongly, memory of unknown size on the stack, and waits by a clock that may be set back.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"

names='sprintf|vsprintf|strcpy|strcat|strncpy|strncat|strtok|gets|atoi|atol|atoll|atof|localtime|gmtime|ctime|asctime|strerror|rand|srand|system|popen|alloca|setjmp|longjmp|pthread_timedjoin_np|pthread_cond_timedwait|pthread_mutex_timedlock|sem_timedwait'
# Comments and strings may name them.
for file in $(files 'plugin/*.[ch]' 'include/*.h' 'examples/*.[ch]' 'tests/*.[ch]'); do
	awk -v file="$file" -v names="$names" '
		{
			line = $0
			gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
			if (inside) {
				if (!match(line, /\*\//)) next
				line = substr(line, RSTART + 2)
				inside = 0
			}
			gsub(/\/\*[^*]*\*+([^\/*][^*]*\*+)*\//, "", line)
			sub(/\/\/.*/, "", line)
			if (match(line, /\/\*/)) {
				line = substr(line, 1, RSTART - 1)
				inside = 1
			}
			if (line ~ "(^|[^A-Za-z0-9_.>])(" names ")[ \t]*\\(")
				printf "%s:%d: %s\n", file, FNR, $0
		}' "$file"
done | nothing_of "banned functions"
