# Targets DeePMD::deepmd_c (C and header-only C++, deepmd/c_api.h and deepmd/deepmd.hpp) and DeePMD::deepmd_cc (the same
# library, for programs that know the classes as those of deepmd/DeepPot.h).
get_filename_component(_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)

if(NOT TARGET DeePMD::deepmd_c)
  add_library(DeePMD::deepmd_c SHARED IMPORTED)
  set_target_properties(
    DeePMD::deepmd_c
    PROPERTIES IMPORTED_LOCATION "${_prefix}/lib/libdeepmd_c.so" IMPORTED_SONAME libdeepmd_c.so
               INTERFACE_INCLUDE_DIRECTORIES "${_prefix}/include")
  add_library(DeePMD::deepmd_cc INTERFACE IMPORTED)
  set_target_properties(DeePMD::deepmd_cc PROPERTIES INTERFACE_LINK_LIBRARIES DeePMD::deepmd_c)
endif()

set(DeePMD_INCLUDE_DIRS "${_prefix}/include")
set(DeePMD_LIBRARIES DeePMD::deepmd_c)
unset(_prefix)
