# `cpack`: one relocatable archive of the programs, the CUDA plug-in where it is built, and the shared libraries that they
# need beyond those of every Linux machine. docs/cuda.md says what the loader must find beside it.
#
#   cpack --config build/CPackConfig.cmake -B build      build/ballast-VERSION-Linux-x86_64.tar.xz
set(BALLAST_PACKAGED ballast-sim)
if(BALLAST_GRPC)
  list(APPEND BALLAST_PACKAGED ballast-coordinator ballast-worker ballastctl)
endif()
# DT_RPATH and not DT_RUNPATH: the libraries of the archive are found for each other, too, and for what is opened by name.
foreach(program ${BALLAST_PACKAGED})
  set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/../lib")
  target_link_options(${program} PRIVATE -Wl,--disable-new-dtags)
endforeach()
install(TARGETS ${BALLAST_PACKAGED} RUNTIME DESTINATION bin)
if(BALLAST_CUDA)
  install(TARGETS ballast_cuda LIBRARY DESTINATION lib)
endif()
install(FILES README.md DESTINATION share/ballast)
install(DIRECTORY docs DESTINATION share/ballast)
install(DIRECTORY deploy DESTINATION share/ballast)
install(PROGRAMS scripts/quickstart DESTINATION share/ballast/scripts)

# What the archive was built from, for records of runs with it; asked when it is made, as a build folder outlives commits.
install(CODE "set(source \"${PROJECT_SOURCE_DIR}\")")
install(CODE [[
  set(commit unknown)
  find_program(git git)
  if(git)
    execute_process(COMMAND "${git}" -C "${source}" rev-parse --short=12 HEAD
      OUTPUT_VARIABLE head RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT failed)
      set(commit "${head}")
      execute_process(COMMAND "${git}" -C "${source}" diff --quiet HEAD -- ":(top,exclude)bench/results" RESULT_VARIABLE changed)
      if(changed)
        string(APPEND commit " with local changes")
      endif()
    endif()
  endif()
  file(WRITE "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/ballast/COMMIT" "${commit}\n")
]])

# OpenBLAS is opened by name, so no program names it.
install(CODE "set(openblas \"${OPENBLAS_LIBRARY}\")")
install(CODE [[
  set(root "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
  file(GLOB programs "${root}/bin/*")
  file(GLOB plugin "${root}/lib/libballast_cuda.so")
  file(REAL_PATH "${openblas}" openblas)
  # The C and C++ runtime, the loader, the driver and what CUDA's own packages install belong to the machine.
  file(GET_RUNTIME_DEPENDENCIES
    RESOLVED_DEPENDENCIES_VAR found UNRESOLVED_DEPENDENCIES_VAR missing
    EXECUTABLES ${programs} LIBRARIES ${plugin} ${openblas}
    PRE_EXCLUDE_REGEXES "^(ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libresolv|libstdc\\+\\+|libgcc_s|libcuda|libcudart|libcublas|libcublasLt|libnccl)\\.so")
  if(missing)
    message(FATAL_ERROR "shared libraries that the programs need and that are not here: ${missing}")
  endif()
  foreach(library ${found} ${openblas})
    file(INSTALL DESTINATION "${CMAKE_INSTALL_PREFIX}/lib" TYPE SHARED_LIBRARY FOLLOW_SYMLINK_CHAIN FILES "${library}")
  endforeach()
  # Programs and libraries ask for OpenBLAS by its soname.
  get_filename_component(name "${openblas}" NAME)
  string(REGEX REPLACE "^libopenblasp?-.*\\.so$" "libopenblas.so.0" soname "${name}")
  if(NOT EXISTS "${root}/lib/${soname}")
    file(CREATE_LINK "${name}" "${root}/lib/${soname}" SYMBOLIC)
  endif()
  if(CMAKE_INSTALL_DO_STRIP)
    file(GLOB libraries "${root}/lib/*.so*")
    foreach(library ${libraries})
      if(NOT IS_SYMLINK "${library}")
        execute_process(COMMAND "${CMAKE_STRIP}" --strip-unneeded "${library}")
      endif()
    endforeach()
  endif()
]])

set(CPACK_GENERATOR TXZ)
set(CPACK_PACKAGE_NAME ballast)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_SYSTEM_NAME Linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Keeps a Mixture-of-Experts training job balanced while it runs")
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 0)
include(CPack)
