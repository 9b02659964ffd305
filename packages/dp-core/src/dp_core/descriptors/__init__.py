"""Descriptors: one file each.

What a descriptor offers, beside ``Settings``, ``init``, ``serialize`` and ``deserialize``:

======================================  ==============================================================================
``__call__(table)``                     the descriptor (n, dim_out) and the equivariant part (n, dim_emb, 3), or None
``dim_out``                             its width
``rcut``, ``sel``, ``by_type``          the neighbours in the table; ``by_type``: ``sel`` has a number for each type,
                                        and rows and slots come in blocks by type
``message_passing``                     whether ``table.index`` counts
``davg``, ``dstd``, ``rcut_smth``,      statistics of the training data, and what they depend on
``exclude_types``, ``env_protection``,
``set_davg_zero``
======================================  ==============================================================================

Some say more; ``protocol`` has the answers for those that do not:

======================================  ==============================================================================
``dim_emb``                             rows of the equivariant part, if there is one
``split``                               blocks by type although ``sel`` limits all types together
``types_alone``                         ``sel`` limits each type alone, and leaving out others is meant
``shells``, ``marks_first``             see ``NeighborSpec``
``message_reach``                       (steps, radius in Å): what an atom has depends on the neighbours of rows so many
                                        steps away, and on no others. Without it each rank of LAMMPS evaluates all rows
``dim_chg_spin``, ``default_chg_spin``  2 for those that depend on the total charge and multiplicity, the last columns
                                        of ``table.fparam``, and what these are by default, or None
``map_parts(change)``                   the descriptor with ``change(part)`` for each part with statistics of its own,
                                        such as those of a hybrid; a part has all that statistics need
``moments(neighbors)``,                 statistics of another kind: sums (ntypes, columns, 3) of a frame, the descriptor
``with_moments(sums)``, ``identity``    normalised by their total, and what they depend on
``takes_type_embedding``                whether ``init`` takes the section model/type_embedding as its third argument
``mixed_types``                         whether one fitting network serves all types, if not just where ``by_type`` is
                                        False
``change_type_map(type_map, random)``   the descriptor for other types
``Settings.with_counted_sel(count)``    the settings with ``count(place, sel, rcut, mixed=…)`` for every ``sel``
======================================  ==============================================================================
"""
