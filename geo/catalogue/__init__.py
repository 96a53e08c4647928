"""Public image archives: searched by STAC, read by range requests, cut down to one area.

Nothing here is reached unless a user asks for it (`railwatch fetch`, `railwatch watch`).

| module | does |
|---|---|
| `addresses` | which addresses may be asked |
| `network` | requests to servers that nobody vouches for: how often, how long, how much |
| `range_file` | a remote file, of which only the asked-for bytes are fetched |
| `remote_image` | a window of a remote COG or JP2 as a local image |
| `profiles` | what each archive calls its bands, how it signs links, and its documented traps |
| `stac_search` | the items of an archive that show an area |
| `remote_scene` | one acquisition of one item, and which of several items to read |
| `signing` | links with the tokens or keys that an archive asks for |
| `cut` | an area's window of a scene, kept as a small COG with its STAC item |
| `cut_sentinel2`, `cut_fine`, `cog` | the pixels of it, by the kind of scene |
"""
