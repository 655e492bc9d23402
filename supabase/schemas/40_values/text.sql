-- is_blank(p_text)
-- True if a text has only white space, in any script (U+00A0, U+2000 to U+200F and so on count in every locale).
create function batchgen.is_blank(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text !~ '[^\s\u0000-\u0020\u0085\u00A0\u1680\u180E\u2000-\u200F\u2028-\u202F\u205F\u2060\u3000\uFEFF]'
$$;
revoke execute on function batchgen.is_blank(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_blank(text) is 'True if a text has only white space, in any script.';

-- has_hidden_characters(p_text)
-- True if a text has control characters, or characters that reorder or hide the text around them. Joiners, which
-- scripts and emoji need, are allowed.
create function batchgen.has_hidden_characters(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text ~ ('[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff'
    '\ufff9-\ufffb\U000e0000-\U000e007f]')
$$;
revoke execute on function batchgen.has_hidden_characters(text) from public, anon, authenticated, service_role;
comment on function batchgen.has_hidden_characters(text) is
  'True if a text has control characters, or characters that reorder or hide the text around them.';

-- is_color(p_text)
-- True for a CSS colour: #rgb, #rgba, #rrggbb, #rrggbbaa, or a named colour.
create function batchgen.is_color(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text ~* '^#([0-9a-f]{3}|[0-9a-f]{4}|[0-9a-f]{6}|[0-9a-f]{8})$' or lower(p_text) = any (string_to_array(
    'aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown '
    'burlywood cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan '
    'darkgoldenrod darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid '
    'darkred darksalmon darkseagreen darkslateblue darkslategray darkslategrey darkturquoise darkviolet '
    'deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen fuchsia gainsboro '
    'ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo ivory khaki '
    'lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan lightgoldenrodyellow '
    'lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray '
    'lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue '
    'mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise '
    'mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange '
    'orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum '
    'powderblue purple rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell '
    'sienna silver skyblue slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato '
    'transparent turquoise violet wheat white whitesmoke yellow yellowgreen', ' '))
$$;
revoke execute on function batchgen.is_color(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_color(text) is
  'True for a CSS colour: #rgb, #rgba, #rrggbb, #rrggbbaa, or a named colour.';
