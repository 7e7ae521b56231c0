# What makes a memory error in bondd or bondd-engine hard to use. In bondd_options, so that every
# module and the precompiled headers have the same. Debug builds, which nobody installs, stay plain.
# tests/unit/build_flags_test.py looks at the result.
set(hardening
  -fPIE                          # addresses are not known in advance
  -fstack-protector-strong       # an overwritten return address ends the process
  -fstack-clash-protection       # a large frame cannot step over the guard page
  -D_GLIBCXX_ASSERTIONS)         # an index past the end of a vector or span ends the process
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|i.86")
  list(APPEND hardening -fcf-protection)  # indirect jumps reach only places meant for it
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  list(APPEND hardening -mbranch-protection=standard)
endif()
# Sanitizers check more, and do not see into the checked functions of glibc. A distribution may have
# defined it before, to another value.
if(NOT BONDD_SANITIZE)
  list(APPEND hardening -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
target_compile_options(bondd_options INTERFACE "$<$<NOT:$<CONFIG:Debug>>:${hardening}>")
# The tables of function addresses are filled at start and read-only from then on.
target_link_options(bondd_options INTERFACE "$<$<NOT:$<CONFIG:Debug>>:-pie;-Wl,-z,relro;-Wl,-z,now>")
