"""Materials of the drawing; each also has a plain viewport colour."""

from __future__ import annotations

import bpy

Colour = tuple[float, float, float]
ROOM_LIGHT = 0.4
LEAVING = 1024


def matte(name: str, colour: Colour) -> bpy.types.Material:
    """An opaque, slightly glossy colour that glows a little, which stands for the light of the room without its noise."""
    material = _new(name, (*colour, 1.0))
    shader = material.node_tree.nodes.new("ShaderNodeBsdfPrincipled")
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value = 0.45
    shader.inputs["Emission Color"].default_value = (*colour, 1.0)
    shader.inputs["Emission Strength"].default_value = ROOM_LIGHT
    return _finished(material, shader.outputs[0])


def glass(name: str) -> bpy.types.Material:
    """The foil: clear when looked through, bluish at grazing view; no refraction, so that lines stay where they are."""
    return _veil(name, (0.30, 0.48, 0.66), clearest=0.10, densest=0.45)


def tinted(name: str, colour: Colour) -> bpy.types.Material:
    """A sheet that one sees through."""
    return _veil(name, colour, clearest=0.36, densest=0.48)


def screen(name: str, image: bpy.types.Image) -> bpy.types.Material:
    """A surface that shines with `image`, whatever the light around it."""
    material = _new(name, (0.6, 0.6, 0.6, 1.0))
    nodes, links = material.node_tree.nodes, material.node_tree.links
    texture = nodes.new("ShaderNodeTexImage")
    texture.image = image
    texture.interpolation = "Closest"
    shader = nodes.new("ShaderNodeEmission")
    links.new(texture.outputs["Color"], shader.inputs["Color"])
    return _finished(material, shader.outputs[0])


def crossing_heights(name: str, lowest_nm: float) -> bpy.types.Material:
    """Clear, and shining with what a ray crosses: red the height where it enters a solid, green where it leaves, both over
    `lowest_nm`; blue 1 for every entry and LEAVING for every exit."""
    material = _new(name, (0.6, 0.6, 0.6, 1.0))
    material.cycles.emission_sampling = "NONE"  # it lights nothing: no list of a million lamps
    nodes, links = material.node_tree.nodes, material.node_tree.links

    def computed(operation: str, *operands: bpy.types.NodeSocket | float) -> bpy.types.NodeSocket:
        node = nodes.new("ShaderNodeMath")
        node.operation = operation
        for socket, operand in zip(node.inputs, operands):
            if isinstance(operand, bpy.types.NodeSocket):
                links.new(operand, socket)
            else:
                socket.default_value = operand
        return node.outputs[0]

    place, split = nodes.new("ShaderNodeNewGeometry"), nodes.new("ShaderNodeSeparateXYZ")
    links.new(place.outputs["Position"], split.inputs[0])
    leaves = place.outputs["Backfacing"]
    enters = computed("SUBTRACT", 1.0, leaves)
    height = computed("SUBTRACT", split.outputs["Z"], lowest_nm)
    colour = nodes.new("ShaderNodeCombineXYZ")
    links.new(computed("MULTIPLY", height, enters), colour.inputs[0])
    links.new(computed("MULTIPLY", height, leaves), colour.inputs[1])
    links.new(computed("ADD", enters, computed("MULTIPLY", leaves, float(LEAVING))), colour.inputs[2])
    clear, glow, both = (nodes.new(f"ShaderNode{kind}") for kind in ("BsdfTransparent", "Emission", "AddShader"))
    links.new(colour.outputs[0], glow.inputs["Color"])
    links.new(clear.outputs[0], both.inputs[0])
    links.new(glow.outputs[0], both.inputs[1])
    return _finished(material, both.outputs[0])


def clear(name: str) -> bpy.types.Material:
    """Nothing is seen of it but its geometry."""
    material = _new(name, (1.0, 1.0, 1.0, 0.0))
    return _finished(material, material.node_tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0])


def _veil(name: str, colour: Colour, clearest: float, densest: float) -> bpy.types.Material:
    """Light behind it dimmed by 1 - opacity, `colour` added in proportion: no random choice, hence no noise."""
    material = _new(name, (*colour, densest))
    nodes, links = material.node_tree.nodes, material.node_tree.links
    facing = nodes.new("ShaderNodeLayerWeight")
    facing.inputs["Blend"].default_value = 0.35
    opacity = nodes.new("ShaderNodeMapRange")
    opacity.inputs["To Min"].default_value = clearest
    opacity.inputs["To Max"].default_value = densest
    links.new(facing.outputs["Facing"], opacity.inputs["Value"])
    passed = nodes.new("ShaderNodeMath")
    passed.operation = "SUBTRACT"
    passed.inputs[0].default_value = 1.0
    links.new(opacity.outputs["Result"], passed.inputs[1])
    clear, glow, both = (nodes.new(f"ShaderNode{kind}") for kind in ("BsdfTransparent", "Emission", "AddShader"))
    glow.inputs["Color"].default_value = (*colour, 1.0)
    links.new(passed.outputs[0], clear.inputs["Color"])
    links.new(opacity.outputs["Result"], glow.inputs["Strength"])
    links.new(clear.outputs[0], both.inputs[0])
    links.new(glow.outputs[0], both.inputs[1])
    material.surface_render_method = "BLENDED"
    return _finished(material, both.outputs[0])


def _new(name: str, viewport_colour: tuple[float, float, float, float]) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    material.node_tree.nodes.clear()
    material.diffuse_color = viewport_colour
    return material


def _finished(material: bpy.types.Material, shader: bpy.types.NodeSocket) -> bpy.types.Material:
    output = material.node_tree.nodes.new("ShaderNodeOutputMaterial")
    material.node_tree.links.new(shader, output.inputs["Surface"])
    return material
