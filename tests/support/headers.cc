// Carries the precompiled headers of the tests; see bondd_test() in cmake/bondd.cmake.
