// Carries the precompiled headers of the modules; see bondd_library() in cmake/bondd.cmake.
