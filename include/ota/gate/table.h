/* Moved: see ota/base/table.h. */
#pragma once

#include "ota/base/table.h"
