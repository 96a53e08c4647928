"""Public image archives: searched by STAC, read by range requests, cut down to one area.

Nothing here is reached unless a user asks for it (`railwatch fetch`, `railwatch watch`).

| module | does |
|---|---|
| `network` | requests to servers that nobody vouches for: which addresses, how often, how much |
| `range_file` | a remote file, of which only the asked-for bytes are fetched |
| `remote_image` | a window of a remote COG or JP2 as a local image |
| `profiles` | what each archive calls its bands, how it signs links, and its documented traps |
| `stac_search` | the items of an archive that show an area |
| `remote_scene` | one acquisition of one item, and which of several items to read |
| `cut` | an area's window of a scene, kept as a small COG with its STAC item |
"""
