#!/usr/bin/env bash
# What PostgreSQL itself does not insist on.
# shellcheck source=tests/lint/common.sh
. "$(dirname "$0")/common.sh"
status=0

# Migrations are numbered without a gap, and each records itself under its own number.
number=0
for file in $(files 'sql/migrations/*.sql'); do
	number=$((number + 1))
	case $(basename "$file") in
	"$(printf '%04d' "$number")"_*.sql) ;;
	*)
		echo "$file: the next migration is $(printf '%04d' "$number")_<name>.sql"
		status=1
		;;
	esac
	grep -qE "INSERT INTO ota.schema_migration .*VALUES \($number," "$file" || {
		echo "$file: does not record version $number in ota.schema_migration"
		status=1
	}
done

# A function that runs with its owner's rights must not look things up on its caller's path.
for file in $(files 'sql/*.sql'); do
	awk -v file="$file" '
		toupper($0) ~ /^[ \t]*CREATE/ { definer = 0; path = 0; where = FNR }
		toupper($0) ~ /SECURITY DEFINER/ && toupper($0) !~ /ALTER FUNCTION/ { definer = 1 }
		toupper($0) ~ /SET SEARCH_PATH/ { path = 1 }
		/\$[a-z_]*\$;?[ \t]*$/ && definer && !path && /;/ { printf "%s:%d: SECURITY DEFINER without SET search_path\n", file, where; definer = 0 }
	' "$file"
done | nothing_of "rights" || status=1

# shellcheck disable=SC2046
scan -nP '\t' $(files 'sql/*.sql') /dev/null | nothing_of "tabs in SQL files" || status=1
# Pasting strings into EXECUTE is how injection starts; format() with %I and %L is how it does not.
# shellcheck disable=SC2046
scan -nE "EXECUTE[[:space:]]+'[^']*'[[:space:]]*\|\|" $(files 'sql/*.sql') /dev/null | nothing_of "dynamic SQL by pasting" || status=1
exit $status
