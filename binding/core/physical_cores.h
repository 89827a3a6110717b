#pragma once

namespace steadytune {

/// Physical cores among the processors that this process may run on; at least 1. Two hardware threads of one core
/// share its vector units, so matrix products gain nothing from the second.
int physical_cores();

}  // namespace steadytune
