def render_plan():
    pass


def write_blend():
    pass
